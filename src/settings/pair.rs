//! The other box of a pair as the page's form has it, and the text by which the second box is joined. Pure.

use std::net::{IpAddr, SocketAddr};

use super::Remark;

/// `[pair]` of the file, as far as the form has it. What is not written is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PairValues {
    /// The other box. Empty: this box is one by itself.
    pub partner: String,
    /// The address that the miners use, with the length of the network's prefix.
    pub virtual_address: String,
    /// The code that both boxes know; `None` is the one of before. Never shown again.
    pub secret: Option<String>,
}

impl PairValues {
    /// The same without the code, as the page may have it.
    pub fn without_secret(self) -> PairValues {
        PairValues { secret: None, ..self }
    }

    /// With the code that was not typed, out of `known`, which has it. Without a partner there is none.
    ///
    /// # Errors
    /// What is missing, each at its setting.
    pub fn completed(mut self, known: &PairValues) -> Result<PairValues, Vec<Remark>> {
        if self.partner.is_empty() {
            self.secret = None;
            return Ok(self);
        }
        self.secret = self.secret.or_else(|| known.secret.clone());
        match self.secret {
            Some(_) => Ok(self),
            None => Err(vec![Remark::at("secret", "Write the code that the other box shows.")]),
        }
    }

    /// What was typed on the second box: into the field of the code goes the code alone, or the whole
    /// [`invitation`], out of which the fields are filled that are empty.
    pub fn of_invitation(self, text: &str) -> PairValues {
        let (mut partner, mut virtual_address) = (None, None);
        let mut code = Vec::new();
        for word in text.split_whitespace() {
            let is_place = word.parse::<IpAddr>().is_ok() || word.parse::<SocketAddr>().is_ok();
            if word.contains('/') {
                virtual_address.get_or_insert(word);
            } else if is_place {
                partner.get_or_insert(word);
            } else {
                code.push(word);
            }
        }
        let or = |typed: String, told: Option<&str>| match typed.is_empty() {
            true => told.unwrap_or_default().to_owned(),
            false => typed,
        };
        PairValues {
            partner: or(self.partner, partner),
            virtual_address: or(self.virtual_address, virtual_address),
            secret: (!code.is_empty()).then(|| code.join(" ")),
        }
    }
}

/// All that the second box needs, in one line: the code, where the first box is, and the address that the
/// miners use.
pub fn invitation(code: &str, own: &str, virtual_address: &str) -> String {
    let words = [code, own, virtual_address];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Without the code.
impl std::fmt::Debug for PairValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pair({}, {})", self.partner, self.virtual_address)
    }
}

/// A change of the other box, with its codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairChange {
    /// In the file before.
    pub before: PairValues,
    /// In the file afterwards.
    pub after: PairValues,
}

impl PairChange {
    /// It decides who has a word in the payout.
    pub fn has_to_wait(&self) -> bool {
        self.before.partner != self.after.partner || self.before.secret != self.after.secret
    }

    /// The change that takes this one back.
    pub fn reversed(self) -> PairChange {
        PairChange { before: self.after, after: self.before }
    }

    /// In a sentence without secrets.
    pub fn words(&self) -> String {
        match (self.before.partner.as_str(), self.after.partner.as_str()) {
            (_, "") => "The other box is forgotten.".to_owned(),
            (_, partner) if self.has_to_wait() => format!("The other box is {partner}."),
            _ => match self.after.virtual_address.as_str() {
                "" => "No address moves between the boxes, from the next start on.".to_owned(),
                address => format!("The miners use {address}, from the next start on."),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG";

    fn values(partner: &str, virtual_address: &str, secret: Option<&str>) -> PairValues {
        PairValues {
            partner: partner.to_owned(),
            virtual_address: virtual_address.to_owned(),
            secret: secret.map(str::to_owned),
        }
    }

    #[test]
    fn what_the_first_box_shows_fills_the_form_of_the_second() {
        for (own, shared) in
            [("192.168.1.20", "192.168.1.240/24"), ("[fd00::20]:4000", "fd00::240/64")]
        {
            let text = invitation(CODE, own, shared);
            let read = PairValues::default().of_invitation(&text);
            assert_eq!(read, values(own, shared, Some(CODE)));
        }
        // Scanners and people break lines, and leave things out.
        let read = PairValues::default().of_invitation(&format!("\n{CODE}\n 192.168.1.20\t"));
        assert_eq!(read, values("192.168.1.20", "", Some(CODE)));
        let read = PairValues::default().of_invitation("7kq2m xw4rt 9bz0c hj6pd v5ey3 8nafg");
        assert_eq!(read, values("", "", Some("7kq2m xw4rt 9bz0c hj6pd v5ey3 8nafg")));
        assert_eq!(PairValues::default().of_invitation("  "), PairValues::default());
    }

    #[test]
    fn what_was_typed_counts_more_than_what_was_scanned() {
        let typed = values("192.168.1.7", "192.168.1.99/24", None);
        let text = invitation(CODE, "192.168.1.20", "192.168.1.240/24");
        let read = typed.of_invitation(&text);
        assert_eq!(read, values("192.168.1.7", "192.168.1.99/24", Some(CODE)));
    }

    #[test]
    fn a_code_that_is_not_typed_is_that_of_before_and_there_is_none_without_a_partner() {
        let known = values("a", "v", Some("old"));
        assert_eq!(values("b", "v", None).completed(&known), Ok(values("b", "v", Some("old"))));
        assert_eq!(
            values("b", "v", Some("new")).completed(&known),
            Ok(values("b", "v", Some("new")))
        );
        assert_eq!(values("", "v", Some("new")).completed(&known), Ok(values("", "v", None)));
        let remarks = values("b", "v", None).completed(&PairValues::default()).unwrap_err();
        assert_eq!(remarks[0].field, "secret");
        assert!(!format!("{known:?}").contains("old"));
        assert_eq!(known.without_secret().secret, None);
    }

    #[test]
    fn a_change_is_told_in_a_sentence_and_taken_back() {
        let change = |before: &str, after: &str| PairChange {
            before: values(before, "", Some("geheim")),
            after: values(after, "", Some("geheim")),
        };
        assert_eq!(change("", "192.168.1.21").words(), "The other box is 192.168.1.21.");
        assert_eq!(change("a", "").words(), "The other box is forgotten.");
        let moved = PairChange {
            before: values("a", "", Some("geheim")),
            after: values("a", "192.168.1.240/24", Some("geheim")),
        };
        assert_eq!(moved.words(), "The miners use 192.168.1.240/24, from the next start on.");
        assert!(!moved.has_to_wait() && change("a", "b").has_to_wait());
        let recoded = PairChange {
            before: values("a", "", Some("old")),
            after: values("a", "", Some("new")),
        };
        assert!(recoded.has_to_wait());
        assert_eq!(change("a", "b").reversed(), change("b", "a"));
    }
}
