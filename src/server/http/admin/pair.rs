//! The form of the other box of a pair.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::Response;

use super::super::Http;
use super::super::forms::Page;
use super::super::forms::pair::{Which, input_name};
use super::super::route::{self, Body};
use super::{Admin, Change, Checked, Form, out_of_luck};
use crate::pair::Code;
use crate::settings::access::Token;
use crate::settings::{PairChange, PairValues, Remark};

/// What the file says of the other box.
#[derive(Clone, Debug, Default)]
pub struct SavedPair {
    /// Without the code.
    pub values: PairValues,
    /// It is not what is in force: that takes a restart.
    pub waits: bool,
}

impl Admin {
    /// `step` says what is to be done with what is typed.
    pub(super) async fn pair(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let which = match form.get("which") {
            Some("first") => Which::First,
            Some("second") => Which::Second,
            _ => Which::Known,
        };
        let show = |values: &PairValues, problems: Vec<Remark>, which: Which| {
            let checked = Checked { problems, ..Checked::default() };
            self.page(http, Page::Pair { token, values, checked: &checked, which })
        };
        let saved = self.control.pair().values;
        match form.get("step").unwrap_or_default() {
            "first" => match new_code() {
                Some(code) => {
                    let values = PairValues { secret: Some(code), ..saved };
                    show(&values, Vec::new(), Which::First)
                }
                None => out_of_luck(),
            },
            "second" => show(&saved, Vec::new(), Which::Second),
            "edit" => show(&saved, Vec::new(), Which::Known),
            // The other box needs it as well: it is shown as at the first time.
            "new_code" => match new_code() {
                Some(code) => {
                    let values = PairValues { secret: Some(code), ..typed(form) };
                    show(&values, Vec::new(), Which::First)
                }
                None => out_of_luck(),
            },
            "save" => {
                let typed = typed(form);
                match self.control.change_pair(peer, typed.clone()).await {
                    Ok(invitation) => {
                        http.forget_rendered();
                        let Some(invitation) = invitation else {
                            let words = PairChange { before: saved, after: typed }.words();
                            self.control.audit(peer, words.clone());
                            return self.settings_page(http, token, Vec::new(), &[words]);
                        };
                        let invitation =
                            Some(invitation.as_str()).filter(|_| which == Which::First);
                        self.page(http, Page::PairWaits { token, invitation })
                    }
                    Err(problems) => show(&typed, problems, which),
                }
            }
            "forget" if form.get("sure") != Some("yes") => {
                let problem = Remark::whole("Tick the box beside the button first.");
                self.settings_page(http, token, vec![problem], &[])
            }
            "forget" => self.forgetting(http, token, peer, Change::Forget).await,
            "keep" => self.forgetting(http, token, peer, Change::Keep).await,
            _ => route::see("/settings"),
        }
    }

    async fn forgetting(
        self: &Rc<Self>,
        http: &Http,
        token: &Token,
        peer: IpAddr,
        change: Change,
    ) -> Response<Body> {
        let problems = self.control.change(peer, change).await;
        http.forget_rendered();
        let problems = problems.into_iter().map(Remark::whole).collect();
        self.settings_page(http, token, problems, &[])
    }
}

fn typed(form: &Form) -> PairValues {
    let field = |name: &str| form.get(&input_name(name)).unwrap_or_default().to_owned();
    let places = PairValues {
        partner: field("partner"),
        virtual_address: field("virtual_address"),
        secret: None,
    };
    places.of_invitation(&field("secret"))
}

fn new_code() -> Option<String> {
    let mut random = [0; 30];
    getrandom::fill(&mut random).ok()?;
    Some(Code::of(&random))
}
