//! Is what came back from the browser the answer to this sign-in?

use url::{Url, form_urlencoded};

use super::super::secret::same;
use super::super::trouble::shown;

/// What the answer to a sign-in must have.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// The `state` that was sent.
    pub(crate) state: String,
    /// The issuer that was asked.
    pub(crate) issuer: String,
    /// Whether each of its answers names it (RFC 9207).
    pub(crate) names_itself: bool,
}

/// What an answer is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    /// Not one to this sign-in. Any page of the web can make a browser send such a request.
    Foreign(&'static str),
    /// The answer, with the code.
    Code(String),
    /// The answer: there is no code.
    Refused(String),
}

/// Judges the query of an answer.
pub(crate) fn judge(query: &str, expected: &Expected) -> Callback {
    const NAMES: [&str; 5] = ["state", "code", "error", "error_description", "iss"];
    let mut found: [Option<String>; 5] = Default::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if let Some(slot) = NAMES.iter().position(|known| *known == name).and_then(|at| found.get_mut(at)) {
            // RFC 6749 §3.1: no parameter comes twice.
            if slot.replace(value.into_owned()).is_some() {
                return Callback::Foreign("it has a parameter twice");
            }
        }
    }
    let [state, code, error, description, issuer] = found;
    if !state.is_some_and(|state| same(&state, &expected.state)) {
        return Callback::Foreign("its `state` is not the one of this sign-in");
    }
    // RFC 9207 §2.4: the answer of another issuer is not looked at any further.
    let is_ours = match &issuer {
        Some(issuer) => *issuer == expected.issuer,
        None => !expected.names_itself,
    };
    if !is_ours {
        return Callback::Refused("the answer names another identity provider than the one that was asked".into());
    }
    match (code, error) {
        (Some(code), None) if !code.is_empty() => Callback::Code(code),
        (None, Some(error)) => {
            let description = description.map_or_else(String::new, |text| format!(": {}", shown(&text)));
            Callback::Refused(format!("the identity provider refused the sign-in ({}{description})", shown(&error)))
        }
        _ => Callback::Refused("the identity provider's answer has no code".into()),
    }
}

/// Judges what a person pasted: the address that the browser ended at.
pub(crate) fn judge_pasted(text: &str, expected: &Expected) -> Callback {
    let text = text.trim().trim_matches(['"', '\'', '<', '>']).trim();
    match Url::parse(text) {
        Ok(url) => url.query().map_or(Callback::Foreign("it has no `?`"), |query| judge(query, expected)),
        Err(_) => Callback::Foreign("it is not an address"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(names_itself: bool) -> Expected {
        Expected { state: "s-1".into(), issuer: "https://login.example.com".into(), names_itself }
    }

    fn is_foreign(callback: &Callback) -> bool {
        matches!(callback, Callback::Foreign(_))
    }

    #[test]
    fn the_answer_with_the_right_state_is_taken() {
        assert_eq!(judge("code=c%2B1&state=s-1", &expected(false)), Callback::Code("c+1".into()));
        let named = "state=s-1&code=c&session_state=x&iss=https%3A%2F%2Flogin.example.com";
        assert_eq!(judge(named, &expected(true)), Callback::Code("c".into()));
        assert_eq!(judge(named, &expected(false)), Callback::Code("c".into()));
    }

    #[test]
    fn an_answer_with_another_state_is_foreign_whatever_else_it_says() {
        for query in
            ["", "code=c", "code=c&state=", "code=c&state=s-2", "code=c&state=s-1&state=s-1", "error=x&state=s-11"]
        {
            assert!(is_foreign(&judge(query, &expected(false))), "{query}");
        }
        assert!(is_foreign(&judge("state=s-1&code=a&code=b", &expected(false))));
    }

    #[test]
    fn the_issuer_of_an_answer_must_be_the_one_that_was_asked() {
        for query in ["code=c&state=s-1&iss=https%3A%2F%2Fevil.example.com", "error=x&state=s-1&iss="] {
            assert!(
                matches!(judge(query, &expected(false)), Callback::Refused(why) if why.contains("another")),
                "{query}"
            );
        }
        assert!(
            matches!(judge("code=c&state=s-1", &expected(true)), Callback::Refused(why) if why.contains("another"))
        );
    }

    #[test]
    fn an_error_is_told_without_what_a_terminal_obeys() {
        let told = judge("error=access_denied&error_description=no%1B%5B31m&state=s-1", &expected(false));
        let Callback::Refused(why) = told else { panic!("{told:?}") };
        assert!(why.contains("access_denied: no [31m"), "{why:?}");
        assert!(matches!(judge("state=s-1", &expected(false)), Callback::Refused(_)));
        assert!(matches!(judge("state=s-1&code=", &expected(false)), Callback::Refused(_)));
        assert!(matches!(judge("state=s-1&code=c&error=x", &expected(false)), Callback::Refused(_)));
    }

    #[test]
    fn a_pasted_address_is_taken_with_what_people_copy_around_it() {
        let good = "http://127.0.0.1:1/callback?code=c&state=s-1";
        for text in
            [good.to_owned(), format!("  {good}\r\n"), format!("\"{good}\""), format!("<{good}>"), format!("{good}#")]
        {
            assert_eq!(judge_pasted(&text, &expected(false)), Callback::Code("c".into()), "{text:?}");
        }
        for text in ["", "c", "code=c&state=s-1", "http://127.0.0.1:1/callback", "http://127.0.0.1/callback?code=c"] {
            assert!(is_foreign(&judge_pasted(text, &expected(false))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_without_the_state_is_ever_taken(text in ".{0,80}") {
            let taken = judge_pasted(&text, &expected(false));
            prop_assert!(is_foreign(&taken) || text.contains("s-1") || text.contains('%'));
        }

        #[test]
        fn any_code_is_taken_as_it_was_sent(code in "[ -~]{1,40}", issuer in proptest::bool::ANY) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("code", &code).append_pair("state", "s-1");
            if issuer {
                query.append_pair("iss", "https://login.example.com");
            }
            let url = format!("http://127.0.0.1:1/callback?{}", query.finish());
            prop_assert_eq!(judge_pasted(&url, &expected(issuer)), Callback::Code(code));
        }
    }
}
