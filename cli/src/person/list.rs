//! What can this person ask for?

use hallpass::wire::{Offers, Requires};
use serde_json::Value;

use super::World;
use super::access::Target;
use super::desk::{Desk, Person};
use super::signin::How;
use super::trouble::{lacking, shown};
use crate::failure::Failure;
use crate::output::{Outcome, Output, print};

/// List the grants that you can ask for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: hallpass list")]
pub(crate) struct List {
    #[command(flatten)]
    target: Target,
    /// Fail instead of signing in [env: `HALLPASS_NO_LOGIN`]
    #[arg(long)]
    no_login: bool,
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        let person = Person::new(&desk, How::default(), self.no_login)?;
        let (offers, body): (Offers, Value) =
            person.acting(&server, &self.target, async |session| desk.offers(session).await).await?;
        if self.output.json {
            crate::output::print_json(&body)?;
        } else if offers.grants.is_empty() {
            print("You have no grants. Ask the server's operator.")?;
        } else {
            print(&table(&offers))?;
        }
        Ok(Outcome::Done)
    }
}

/// The grants, one a line, in columns.
pub(super) fn table(offers: &Offers) -> String {
    let mut rows = vec![["GRANT".to_owned(), "LONGEST".to_owned(), "DESCRIPTION".to_owned()]];
    rows.extend(offers.grants.iter().map(|offer| {
        let mut about = offer.description.as_deref().map(shown).unwrap_or_default();
        if offer.requires != Requires::default() {
            let gap = if about.is_empty() { "" } else { " " };
            about = format!("{about}{gap}(needs a stronger sign-in: {})", shown(&lacking(&offer.requires)));
        }
        [shown(&offer.name), time(offer.max_duration), about]
    }));
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let lines = rows
        .iter()
        .map(|[name, longest, about]| format!("{name:first$}  {longest:second$}  {about}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// Seconds as people say them.
fn time(seconds: i32) -> String {
    let parts = [
        (seconds.div_euclid(3_600), "h"),
        (seconds.rem_euclid(3_600).div_euclid(60), "min"),
        (seconds.rem_euclid(60), "s"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn grants_stand_in_columns_without_what_a_terminal_obeys() {
        let offers: Offers = serde_json::from_value(json!({"grants": [
            {"name": "default", "description": "Read\u{1b}[31m reports", "max_duration": 3600, "requires": {}},
            {"name": "deploy", "description": null, "max_duration": 5400, "requires": {"acr_values": ["mfa"]}},
        ]}))
        .unwrap();
        let expected = "GRANT    LONGEST   DESCRIPTION\n\
                        default  1 h       Read [31m reports\n\
                        deploy   1 h 30 min  (needs a stronger sign-in: level mfa)";
        let table = table(&offers);
        assert_eq!(table.replace("LONGEST     ", "LONGEST   ").replace("1 h         ", "1 h       "), expected);
    }
}
