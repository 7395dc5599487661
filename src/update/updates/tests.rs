use super::super::feed::tests::{example, feed};
use super::*;

/// 2026-12-02 00:00 UTC, a day after the example was made.
const MIDNIGHT: u64 = 1_796_169_600;
const URL: &str = "https://example.org/feed.json";

/// A box of version 0.2.0 in virtual time, with everything that the core has asked for.
struct Scene {
    core: Updates,
    now: Now,
    facts: Facts,
    /// What was asked for, but for what is to be written, which is done at once.
    out: Vec<Output>,
    file: Vec<u8>,
    /// Writing fails with these words.
    full: Option<&'static str>,
}

impl Scene {
    fn new(mode: Mode) -> Scene {
        Scene::of("0.2.0", mode, Kept::default())
    }

    fn of(version: &str, mode: Mode, kept: Kept) -> Scene {
        let now = Now { mono: Instant::now() + Duration::from_secs(1), unix: MIDNIGHT };
        let facts =
            Facts { block_waits: false, has_work: true, clock_is_good: true, on_trial: false };
        let core = Updates::new(version, true, kept, 7);
        let (out, file, full) = (Vec::new(), Vec::new(), None);
        let mut scene = Scene { core, now, facts, out, file, full };
        scene.input(Input::Settings(Some(settings(mode))));
        scene
    }

    /// The same card after a restart, with another system perhaps.
    fn restarted(&self, version: &str, mode: Mode) -> Scene {
        let mut scene = Scene::of(version, mode, Kept::read(&self.file).unwrap());
        scene.now.unix = self.now.unix;
        if scene.file.is_empty() {
            scene.file.clone_from(&self.file);
        }
        scene
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, self.facts, input, &mut out);
        for output in out {
            match output {
                Output::Keep(bytes) => {
                    let result = self.full.map_or(Ok(()), |why| Err(why.to_owned()));
                    if result.is_ok() {
                        self.file = bytes;
                    }
                    self.input(Input::Kept(result));
                }
                other => self.out.push(other),
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now.mono += Duration::from_secs(seconds);
        self.now.unix += seconds;
        if self.core.next_deadline().is_some_and(|at| self.now.mono >= at) {
            self.input(Input::Tick);
        }
    }

    /// Passes time in steps until something is asked for.
    fn pass_until_asked(&mut self, at_most: u64) -> Vec<Output> {
        for _ in 0..at_most / 20 {
            self.pass(20);
            if !self.out.is_empty() {
                break;
            }
        }
        self.told()
    }

    fn told(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// A check finds this feed.
    fn found(&mut self, feed: Feed, text: String) {
        self.input(Input::CheckNow);
        assert!(self.told().contains(&Output::Check(URL.to_owned())));
        self.input(Input::Checked(Ok(Box::new(Fetched { feed, text }))));
    }

    fn view(&self) -> UpdateView {
        self.core.view(self.now, self.facts, 5).unwrap()
    }
}

fn settings(mode: Mode) -> Settings {
    Settings { feed: URL.to_owned(), mode, at: TimeOfDay::read("04:00").unwrap() }
}

/// The example with another serial or version.
fn another(serial: u64, version: &str) -> (Feed, String) {
    let text = example().replace("1234,", &format!("{serial},"));
    let text = text.replace("\"version\": \"0.3.0\"", &format!("\"version\": \"{version}\""));
    (Feed::read(text.as_bytes()).unwrap(), text)
}

fn is_tell(output: &Output) -> bool {
    matches!(output, Output::Tell(..))
}

/// All but events and messages.
fn asked(outputs: Vec<Output>) -> Vec<Output> {
    outputs
        .into_iter()
        .filter(|o| !matches!(o, Output::Tell(..) | Output::Message { .. }))
        .collect()
}

fn download() -> Output {
    Output::Download(feed().release)
}

#[test]
fn the_feed_is_asked_once_a_day_at_no_fixed_hour_whatever_comes_of_it() {
    let mut scene = Scene::new(Mode::Tell);
    let mut moments = Vec::new();
    let begun = scene.now.unix;
    for day in 0..30 {
        let out = scene.pass_until_asked(26 * 3600);
        assert_eq!(asked(out), [Output::Check(URL.to_owned())], "day {day}");
        moments.push(scene.now.unix);
        scene.pass(3);
        let result = match day % 3 {
            0 => Ok(Box::new(Fetched { feed: feed(), text: example() })),
            1 => Err(Fault::Cut),
            _ => Err(Fault::WrongSignature),
        };
        scene.input(Input::Checked(result));
        scene.told();
    }
    assert!((120..=920).contains(&(moments[0] - begun)), "{moments:?}");
    let between: Vec<u64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(between.iter().all(|s| (23 * 3600..=25 * 3600 + 25).contains(s)), "{between:?}");
    // No two alike, but for chance.
    assert!(between.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 60).count() < 5);
    // Other boxes ask at other moments.
    let first = |random| {
        let mut other = Scene::new(Mode::Tell);
        other.core = Updates::new("0.2.0", true, Kept::default(), random);
        other.input(Input::Settings(Some(settings(Mode::Tell))));
        other.core.next_deadline().unwrap().duration_since(other.now.mono)
    };
    let firsts: std::collections::HashSet<Duration> = (0..100).map(first).collect();
    assert!(firsts.len() > 95, "{}", firsts.len());
}

#[test]
fn a_box_that_starts_often_does_not_ask_more_often() {
    let mut scene = Scene::new(Mode::Tell);
    scene.found(feed(), example());
    scene.pass(3600);
    let mut scene = scene.restarted("0.2.0", Mode::Tell);
    assert_eq!(asked(scene.pass_until_asked(22 * 3600)), []);
    assert_eq!(asked(scene.pass_until_asked(2 * 3600)), [Output::Check(URL.to_owned())]);
    // What it knows is shown all the while.
    assert_eq!(scene.view().step, "offered");
    // A clock that was wrong, and has left a date of the future, holds no check up.
    let mut scene = scene.restarted("0.2.0", Mode::Tell);
    scene.core = Updates::new("0.2.0", true, Kept { checked_at: u64::MAX, ..Kept::default() }, 7);
    scene.input(Input::Settings(Some(settings(Mode::Tell))));
    assert_eq!(asked(scene.pass_until_asked(920)), [Output::Check(URL.to_owned())]);
}

#[test]
fn without_a_feed_nothing_is_asked_and_nothing_shown() {
    let mut scene = Scene::new(Mode::Tell);
    scene.input(Input::Settings(None));
    assert_eq!(scene.pass_until_asked(100_000), []);
    assert!(scene.core.view(scene.now, scene.facts, 0).is_none());
    assert!(scene.core.may_check().unwrap_err().contains("[update]"));
    assert!(scene.core.may_install(scene.facts).is_err());
    assert_eq!(scene.core.next_deadline(), None);
}

#[test]
fn the_owner_is_told_of_each_version_once_over_restarts_as_well() {
    let news = |out: Vec<Output>| {
        out.into_iter().filter(|o| matches!(o, Output::Message { installed: false, .. })).count()
    };
    let mut scene = Scene::new(Mode::Tell);
    scene.found(feed(), example());
    let out = scene.told();
    let [Output::Message { text, .. }] = &out[..] else { panic!("{out:?}") };
    assert!(text.starts_with(
        "Version 0.3.0 of 2026-12-01 is there; this is 0.2.0. What changes:\n- A node"
    ));
    scene.found(feed(), example());
    assert_eq!(news(scene.told()), 0);
    let mut scene = scene.restarted("0.2.0", Mode::Tell);
    let (later, text) = another(2000, "0.3.0");
    scene.found(later, text);
    assert_eq!(news(scene.told()), 0);
    let (next, text) = another(2001, "0.4.0");
    scene.found(next, text);
    assert_eq!(news(scene.told()), 1);
}

#[test]
fn what_is_up_to_date_is_told_nothing() {
    let mut scene = Scene::of("0.3.0", Mode::Install, Kept::default());
    scene.found(feed(), example());
    assert_eq!(scene.told(), []);
    let view = scene.view();
    assert_eq!(
        (view.step.as_str(), view.summary.as_str()),
        ("none", "Version 0.3.0 is up to date.")
    );
    assert!(scene.core.may_install(scene.facts).is_err());
}

#[test]
fn an_older_feed_and_another_of_the_same_number_are_refused_and_told() {
    let mut scene = Scene::new(Mode::Install);
    let (new, text) = another(2000, "0.2.0");
    scene.found(new, text);
    scene.told();
    let mut scene = scene.restarted("0.2.0", Mode::Install);
    scene.found(feed(), example());
    let out = scene.told();
    let [Output::Tell(Level::Warning, text)] = &out[..] else { panic!("{out:?}") };
    assert!(
        text.contains("older (number 1234) than one that was read before (number 2000)"),
        "{text}"
    );
    let failure = scene.view().check_failure.unwrap();
    assert_eq!((failure.cause.as_str(), failure.grave), ("older", true));
    assert_eq!(scene.view().serial, Some(2000));
    let (mut changed, text) = another(2000, "0.3.0");
    changed.serial = 2000;
    scene.found(changed, text);
    assert_eq!(scene.view().check_failure.unwrap().cause, "changed");
    assert_eq!(scene.view().step, "none");
    // The end of it is told, too.
    let (good, text) = another(2001, "0.2.0");
    scene.told();
    scene.found(good, text);
    let end = Output::Tell(Level::Info, "The update feed can be used again.".to_owned());
    assert_eq!(scene.told(), [end]);
    assert_eq!(scene.view().check_failure, None);
}

#[test]
fn the_same_failure_is_told_once_and_its_age_is_counted() {
    let mut scene = Scene::new(Mode::Tell);
    for day in 0..5 {
        scene.pass_until_asked(26 * 3600);
        scene.input(Input::Checked(Err(Fault::NoConnection("no route".into()))));
        let told = scene.told().into_iter().filter(is_tell).count();
        assert_eq!(told, usize::from(day == 0));
    }
    let failure = scene.view().check_failure.unwrap();
    assert!(!failure.grave && (3..=4).contains(&failure.days), "{failure:?}");
    scene.input(Input::CheckNow);
    scene.told();
    scene.input(Input::Checked(Err(Fault::WebPage)));
    assert_eq!(scene.told().into_iter().filter(is_tell).count(), 1);
}

#[test]
fn a_withdrawn_version_is_told_until_another_one_runs() {
    let mut scene = Scene::of("0.2.1", Mode::Tell, Kept::default());
    scene.found(feed(), example());
    let view = scene.view();
    assert!(view.withdrawn.unwrap().reason.contains("settings"));
    let scene = scene.restarted("0.2.1", Mode::Tell);
    assert!(scene.view().withdrawn.is_some());
    assert!(scene.restarted("0.3.0", Mode::Tell).view().withdrawn.is_none());
}

#[test]
fn what_to_go_back_to_is_never_installed_by_itself_but_by_hand() {
    let text = example().replace("\"0.2.1\"", "\"0.4.0\"");
    let back = Feed::read(text.as_bytes()).unwrap();
    let mut scene = Scene::of("0.4.0", Mode::Install, Kept::default());
    scene.found(back.clone(), text);
    assert_eq!(scene.view().step, "back");
    assert_eq!(asked(scene.pass_until_asked(20 * 3600)), []);
    scene.core.may_install(scene.facts).unwrap();
    scene.input(Input::InstallNow);
    assert_eq!(scene.told(), [Output::Download(back.release)]);
}

#[test]
fn what_is_not_reached_in_one_step_is_never_installed() {
    let text = example().replace("\"minimum\": \"0.1.0\"", "\"minimum\": \"0.2.1\"");
    let far = Feed::read(text.as_bytes()).unwrap();
    let mut scene = Scene::new(Mode::Install);
    scene.found(far, text);
    assert_eq!(scene.view().step, "out_of_reach");
    assert!(scene.view().summary.contains("version 0.2.1 must be installed before"));
    assert!(scene.core.may_install(scene.facts).is_err());
    scene.input(Input::InstallNow);
    assert_eq!(asked(scene.told()), []);
    assert_eq!(asked(scene.pass_until_asked(20 * 3600)), []);
}

#[test]
fn an_update_is_fetched_when_it_is_found_and_installed_at_the_hour() {
    let mut scene = Scene::new(Mode::Install);
    scene.found(feed(), example());
    assert_eq!(asked(scene.told()), [download()]);
    assert_eq!(scene.view().phase, "fetching");
    scene.pass(600);
    scene.input(Input::Downloaded(Ok(())));
    let view = scene.view();
    assert_eq!((view.phase.as_str(), view.waits_for.as_str()), ("ready", "it is 04:00 UTC"));
    assert_eq!(view.install_at, Some(MIDNIGHT + 4 * 3600));
    assert_eq!(asked(scene.pass_until_asked(5 * 3600)), [Output::HandOver]);
    let late = scene.now.unix - (MIDNIGHT + 4 * 3600);
    assert!(late <= 20, "{late} s after the hour");
    assert_eq!(scene.view().phase, "installing");
    // It was written down before.
    let kept = Kept::read(&scene.file).unwrap();
    assert_eq!(kept.tried.unwrap().version, Version(0, 3, 0));
    scene.input(Input::Installed(Ok(())));
    assert!(scene.core.may_install(scene.facts).is_err());
}

#[test]
fn nothing_is_handed_over_before_it_is_noted_on_the_card() {
    let mut scene = Scene::new(Mode::Install);
    scene.found(feed(), example());
    scene.input(Input::Downloaded(Ok(())));
    scene.told();
    scene.now.unix = MIDNIGHT + 4 * 3600;
    scene.full = Some("No space left on device");
    let out = scene.pass_until_asked(60);
    assert_eq!(asked(out), [Output::Discard]);
    let failure = scene.view().install_failure.unwrap();
    assert_eq!(failure.cause, "not_kept");
    assert!(failure.why.contains("No space left"), "{}", failure.why);
    // A write of before that comes late is none of the note.
    let mut out = Vec::new();
    let mut scene = Scene::new(Mode::Install);
    scene.found(feed(), example());
    scene.input(Input::Downloaded(Ok(())));
    let late = Input::Checked(Ok(Box::new(Fetched { feed: feed(), text: example() })));
    scene.core.handle(scene.now, scene.facts, late, &mut out);
    scene.now.unix = MIDNIGHT + 4 * 3600;
    scene.core.handle(scene.now, scene.facts, Input::Tick, &mut out);
    assert!(!out.contains(&Output::HandOver), "{out:?}");
    out.clear();
    scene.core.handle(scene.now, scene.facts, Input::Kept(Ok(())), &mut out);
    assert!(matches!(&out[..], [Output::Keep(_)]), "{out:?}");
    out.clear();
    scene.core.handle(scene.now, scene.facts, Input::Kept(Ok(())), &mut out);
    assert_eq!(out, [Output::HandOver]);
}

/// Each of the promises holds it up for as long as it is at stake.
#[test]
fn an_installation_waits_for_blocks_for_work_and_for_the_clock() {
    type Hold = (fn(&mut Facts), &'static str, bool);
    let holds: [Hold; 4] = [
        (|facts| facts.block_waits = true, "the solved block on its way is decided", true),
        (|facts| facts.on_trial = true, "this version has passed its own trial", true),
        (|facts| facts.has_work = false, "a node gives work", false),
        (|facts| facts.clock_is_good = false, "the clock of this box is right", false),
    ];
    for (hold, words, by_hand_too) in holds {
        for by_hand in [false, true] {
            let mut scene = Scene::new(if by_hand { Mode::Tell } else { Mode::Install });
            scene.found(feed(), example());
            if by_hand {
                scene.input(Input::InstallNow);
            }
            scene.now.unix = MIDNIGHT + 4 * 3600;
            let good = scene.facts;
            hold(&mut scene.facts);
            assert_eq!(scene.core.may_install(scene.facts).is_err(), by_hand_too);
            scene.input(Input::Downloaded(Ok(())));
            if by_hand && !by_hand_too {
                assert_eq!(asked(scene.told()), [download(), Output::HandOver], "{words}");
                continue;
            }
            assert_eq!(scene.view().waits_for, words);
            assert_eq!(asked(scene.pass_until_asked(3600)), [download()], "{words}");
            assert_eq!(asked(scene.pass_until_asked(1800)), [], "{words}");
            scene.facts = good;
            assert_eq!(asked(scene.pass_until_asked(60)), [Output::HandOver], "{words}");
        }
    }
}

#[test]
fn when_the_hour_has_passed_it_waits_for_the_next_day() {
    let mut scene = Scene::new(Mode::Install);
    scene.found(feed(), example());
    scene.input(Input::Downloaded(Ok(())));
    scene.told();
    scene.facts.has_work = false;
    scene.now.unix = MIDNIGHT + 4 * 3600;
    assert_eq!(asked(scene.pass_until_asked(2 * 3600 + 60)), []);
    scene.facts.has_work = true;
    assert_eq!(scene.view().waits_for, "it is 04:00 UTC");
    assert_eq!(asked(scene.pass_until_asked(3600)), []);
    // The clock is set meanwhile.
    scene.now.unix = MIDNIGHT + 3 * DAY + 4 * 3600 - 10;
    assert_eq!(asked(scene.pass_until_asked(60)), [Output::HandOver]);
}

#[test]
fn a_clock_of_1970_makes_no_good_feed_bad_and_installs_nothing_by_itself() {
    let mut scene = Scene::new(Mode::Install);
    scene.now.unix = 4 * 3600;
    scene.found(feed(), example());
    let out = scene.told();
    assert!(
        out.iter().any(
            |o| matches!(o, Output::Tell(Level::Warning, text) if text.contains("1970-01-01"))
        )
    );
    let view = scene.view();
    assert!(view.clock_behind && view.step == "offered" && view.check_failure.is_none());
    scene.input(Input::Downloaded(Ok(())));
    assert_eq!(scene.view().waits_for, "the clock of this box is right");
    assert_eq!(asked(scene.pass_until_asked(3600)), []);
    // 2099, as the nodes' clocks show.
    scene.now.unix = 4_070_908_800 + 4 * 3600;
    scene.facts.clock_is_good = false;
    assert_eq!(asked(scene.pass_until_asked(3600)), []);
    // By hand it is the owner's word.
    scene.input(Input::InstallNow);
    assert_eq!(asked(scene.told()), [Output::HandOver]);
}

#[test]
fn a_failed_download_is_told_and_tried_again_a_day_later() {
    let mut scene = Scene::new(Mode::Install);
    scene.found(feed(), example());
    scene.told();
    scene.input(Input::Downloaded(Err(Fault::NoRoom { needed: 134_000_000, free: 1_000_000 })));
    let out = scene.told();
    let [Output::Tell(Level::Warning, text), Output::Discard] = &out[..] else { panic!("{out:?}") };
    let said = "Version 0.3.0 is not installed: the card has room for 1 MB, and it needs 134 MB. Make room";
    assert!(text.starts_with(said), "{text}");
    assert_eq!(scene.view().install_failure.unwrap().cause, "no_room");
    assert_eq!(asked(scene.pass_until_asked(22 * 3600)), []);
    assert_eq!(asked(scene.pass_until_asked(4 * 3600)), [Output::Check(URL.to_owned())]);
    scene.input(Input::Checked(Ok(Box::new(Fetched { feed: feed(), text: example() }))));
    assert_eq!(asked(scene.told()), [download()]);
    assert_eq!(scene.view().install_failure, None);
}

#[test]
fn what_the_system_refuses_or_what_comes_back_is_not_tried_again_by_itself() {
    let hand_over = |scene: &mut Scene| {
        scene.found(feed(), example());
        scene.input(Input::Downloaded(Ok(())));
        scene.now.unix = MIDNIGHT + 4 * 3600;
        scene.pass_until_asked(60);
        assert_eq!(scene.view().phase, "installing");
        scene.told();
    };
    let stays_refused = |scene: &mut Scene, cause: &str| {
        assert_eq!(scene.view().install_failure.unwrap().cause, cause);
        scene.found(feed(), example());
        for _ in 0..3 {
            let next = asked(scene.pass_until_asked(26 * 3600));
            assert_eq!(next, [Output::Check(URL.to_owned())], "{cause}");
            scene.input(Input::Checked(Ok(Box::new(Fetched { feed: feed(), text: example() }))));
            assert_eq!(asked(scene.told()), [], "{cause}");
        }
        // By hand it is.
        scene.input(Input::InstallNow);
        assert_eq!(asked(scene.told()), [download()]);
    };
    let mut scene = Scene::new(Mode::Install);
    hand_over(&mut scene);
    scene.input(Input::Installed(Err(Fault::Refused("slot B cannot be written".into()))));
    assert!(scene.told().contains(&Output::Discard));
    let mut after = scene.restarted("0.2.0", Mode::Install);
    stays_refused(&mut scene, "refused");
    stays_refused(&mut after, "refused");

    // The new version has not proved itself.
    let mut scene = Scene::new(Mode::Install);
    hand_over(&mut scene);
    let mut scene = scene.restarted("0.2.0", Mode::Install);
    let text = "Version 0.3.0 was to be installed: it did not start, or did not prove itself within ten \
                minutes, and version 0.2.0 runs again.";
    assert_eq!(scene.told(), [Output::Tell(Level::Warning, text.to_owned())]);
    stays_refused(&mut scene, "came_back");
    // A later version is another matter.
    let mut scene = scene.restarted("0.2.0", Mode::Install);
    let (next, text) = another(2000, "0.4.0");
    let release = next.release.clone();
    scene.found(next, text);
    assert!(scene.told().contains(&Output::Download(release)));
}

#[test]
fn a_version_on_trial_is_installed_only_when_it_has_passed() {
    let mut before = Scene::new(Mode::Install);
    before.found(feed(), example());
    before.input(Input::Downloaded(Ok(())));
    before.now.unix = MIDNIGHT + 4 * 3600;
    before.pass_until_asked(60);
    let kept = Kept::read(&before.file).unwrap();
    let on_trial = || {
        let mut scene = Scene::of("0.3.0", Mode::Install, Kept::default());
        scene.core = Updates::new("0.3.0", true, kept.clone(), 7);
        scene.facts.on_trial = true;
        scene.input(Input::Settings(Some(settings(Mode::Install))));
        scene
    };
    let mut scene = on_trial();
    assert_eq!(scene.pass_until_asked(100), []);
    scene.facts.on_trial = false;
    let text = "Version 0.3.0 is installed and has proved itself.".to_owned();
    assert_eq!(scene.pass_until_asked(60), [Output::Message { installed: true, text }]);
    assert_eq!(scene.pass_until_asked(100), []);
    // It starts and falls back: the version of before knows that it was tried.
    let mut scene = on_trial();
    assert_eq!(scene.pass_until_asked(100), []);
    let scene = Scene::of("0.2.0", Mode::Install, kept.clone());
    assert_eq!(scene.view().install_failure.unwrap().cause, "came_back");
}

#[test]
fn a_change_of_mind_ends_what_the_system_does_not_have_yet() {
    let mut scene = Scene::new(Mode::Install);
    scene.found(feed(), example());
    scene.told();
    scene.input(Input::Settings(Some(settings(Mode::Tell))));
    assert_eq!(scene.told(), [Output::Discard]);
    // The download ends all the same.
    scene.input(Input::Downloaded(Ok(())));
    assert_eq!((scene.view().phase.as_str(), scene.told()), ("", vec![]));
    scene.input(Input::Settings(Some(settings(Mode::Install))));
    assert_eq!(scene.told(), [download()]);
    scene.input(Input::Downloaded(Ok(())));
    // A withdrawn release is not installed, nor one that gives way to a later one.
    let (next, text) = another(2000, "0.4.0");
    let release = next.release.clone();
    scene.found(next, text);
    assert_eq!(asked(scene.told()), [Output::Discard, Output::Download(release)]);
    scene.input(Input::Downloaded(Ok(())));
    let (back, text) = another(2001, "0.2.0");
    scene.found(back, text);
    assert_eq!(asked(scene.told()), [Output::Discard]);
    assert_eq!(scene.view().phase, "");
}

#[test]
fn a_system_without_slots_only_tells() {
    let mut scene = Scene::new(Mode::Install);
    scene.core = Updates::new("0.2.0", false, Kept::default(), 7);
    scene.input(Input::Settings(Some(settings(Mode::Install))));
    scene.found(feed(), example());
    let out = scene.told();
    assert!(matches!(&out[..], [Output::Message { installed: false, .. }]), "{out:?}");
    let why = scene.core.may_install(scene.facts).unwrap_err();
    assert!(why.contains("package") && why.contains("container"), "{why}");
    scene.input(Input::InstallNow);
    assert_eq!(scene.told(), []);
}

#[test]
fn a_build_between_releases_is_offered_nothing() {
    let mut scene = Scene::of("0.2.0-5-gabc", Mode::Install, Kept::default());
    scene.found(feed(), example());
    assert_eq!(scene.told(), []);
    assert!(scene.view().summary.contains("no release"));
    assert!(scene.core.may_install(scene.facts).is_err());
}
