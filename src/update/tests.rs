use super::*;

#[test]
fn a_time_of_day_is_read_and_found_again_each_day() {
    let four = TimeOfDay::read("04:00").unwrap();
    assert_eq!(four.to_string(), "04:00");
    assert_eq!(TimeOfDay::read("23:59").unwrap().to_string(), "23:59");
    for bad in
        ["", "4:00", "24:00", "04:60", "04:00:00", "0400", "ab:cd", "-1:00", "+4:00", " 04:00"]
    {
        assert_eq!(TimeOfDay::read(bad), None, "{bad}");
    }
    let day = 20_000 * DAY;
    assert_eq!((four.ago(day + 4 * 3600), four.next(day + 4 * 3600)), (0, day + 4 * 3600));
    assert_eq!((four.ago(day + 5 * 3600), four.next(day + 5 * 3600)), (3600, day + DAY + 4 * 3600));
    assert_eq!((four.ago(day), four.next(day)), (20 * 3600, day + 4 * 3600));
    // A clock of 1970, and one of a damaged file.
    assert_eq!(four.next(0), 4 * 3600);
    assert!(four.next(u64::MAX) >= u64::MAX - DAY);
}

/// What an owner reads is said for every failure: a clause, and a remedy that is a sentence.
#[test]
fn every_fault_has_its_words_and_its_remedy() {
    use crate::node::fault::TlsFault;
    let words = "it broke".to_owned();
    let all = [
        Fault::UnknownName("a.example".into()),
        Fault::NoConnection(words.clone()),
        Fault::Tls(TlsFault::Untrusted),
        Fault::Tls(TlsFault::NotPinned("ca.pem".into())),
        Fault::Tls(TlsFault::Name("a.example".into())),
        Fault::Tls(TlsFault::Date),
        Fault::Tls(TlsFault::Plain),
        Fault::Tls(TlsFault::Other(words.clone())),
        Fault::Certificate(words.clone()),
        Fault::Redirect(String::new()),
        Fault::Redirect("portal.example".into()),
        Fault::Status(0),
        Fault::Status(404),
        Fault::Status(500),
        Fault::TooLong(65_536),
        Fault::Cut,
        Fault::Slow(std::time::Duration::from_secs(30)),
        Fault::WebPage,
        Fault::NoKey(words.clone()),
        Fault::BadKey,
        Fault::NoSignature,
        Fault::OtherKey,
        Fault::WrongSignature,
        Fault::OtherFile("update".into()),
        Fault::NotJson,
        Fault::Format(2),
        Fault::Value("serial"),
        Fault::Older { seen: 5, got: 4 },
        Fault::Changed(5),
        Fault::NotKept(words.clone()),
        Fault::NoRoom { needed: 110_000_001, free: 5 },
        Fault::Write(words.clone()),
        Fault::Length { wanted: 10, got: 5 },
        Fault::Hash,
        Fault::Refused(words),
        Fault::NobodyTook,
        Fault::CameBack(Version(0, 2, 0)),
    ];
    let mut told = String::new();
    for fault in &all {
        let (clause, remedy) = (fault.to_string(), fault.remedy("1970-01-01 00:00 UTC"));
        assert!(!clause.ends_with('.') && !clause.is_empty(), "{clause}");
        assert!(remedy.ends_with('.') && remedy.len() > 20, "{remedy}");
        told.push_str(&format!("{}: {clause}.\n    {remedy}\n", fault.label()));
    }
    let clauses: std::collections::HashSet<String> = all.iter().map(Fault::to_string).collect();
    assert_eq!(clauses.len(), all.len());
    assert!(Fault::Tls(TlsFault::Date).remedy("1970-01-01 00:00 UTC").contains("1970-01-01"));
    insta::assert_snapshot!(told);
}
