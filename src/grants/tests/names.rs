//! Whose is the federated name, and what is due before a session?

use super::*;

const FIRST_USE: &str = "first_use";
const REGISTERED: &str = "registered";

fn named(claim: &str, owners: &str, claims: &Value, owner: Option<&str>) -> Result<Pending, Denied> {
    let caller = caller_claiming(&json!({"name_claim": claim, "name_owners": owners}), claims);
    let mut matches = matches_of(&caller, &[json!({})]);
    matches.name_owner = owner.map(str::to_owned);
    authorize(&caller, &request(None), matches, now())
}

#[test]
fn a_name_of_the_subject_has_no_owner_and_nothing_is_due() {
    let caller = caller();
    let mut matches = matches_of(&caller, &[json!({})]);
    matches.name_owner = Some("corp/user/mallory".into());
    let pending = authorize(&caller, &request(None), matches, now()).unwrap();
    assert_eq!(pending.describe().name().as_str(), "carol-3o2jzrlhnfnb");
    assert!(pending.dues.name.is_none() && pending.dues.token.is_none());
}

#[test]
fn a_claim_is_the_name_as_it_stands() {
    let claims = json!({"user": {"name": "Carol.Smith+x@example"}});
    let pending = named("/user/name", REGISTERED, &claims, Some("corp/user/carol")).unwrap();
    assert_eq!(pending.describe().name().as_str(), "Carol.Smith+x@example");
    assert!(pending.dues.name.is_none(), "it is the caller's already");
}

#[test]
fn a_claim_that_does_not_fit_is_refused_and_never_cut() {
    let refused = |name: Value| named("/u", REGISTERED, &json!({ "u": name }), Some("corp/user/carol")).unwrap_err();
    let (missing, unfit) = (NameError::Missing("/u".into()), NameError::Unfit("/u".into()));
    for (name, error) in [
        (Value::Null, &missing),
        (json!(7), &missing),
        (json!(["carol"]), &missing),
        (json!(true), &missing),
        (json!(""), &unfit),
        (json!("c"), &unfit),
        (json!("carol smith"), &unfit),
        (json!("auth0|carol"), &unfit),
        (json!("carol/x"), &unfit),
        (json!("carol*"), &unfit),
        (json!("cárol"), &unfit),
        (json!("c".repeat(33)), &unfit),
    ] {
        assert_eq!(refused(name.clone()), Denied::Unusable(Unusable::Name(error.clone())), "{name}");
    }
    for hashed in ["carol-3o2jzrlhnfnb", "CAROL-3O2JZRLHNFNB", "-abcdefghijkl", "mallory-222222777777"] {
        assert_eq!(
            refused(hashed.into()),
            Denied::Unusable(Unusable::Name(NameError::Hashed("/u".into()))),
            "{hashed}"
        );
    }
    for like in ["carol-3o2jzrlhnfn", "carol-3o2jzrlhnfnbb", "carol-1o2jzrlhnfnb", "carol-3o2jz.lhnfnb", "abcdefghijkl"]
    {
        assert!(named("/u", REGISTERED, &json!({ "u": like }), Some("corp/user/carol")).is_ok(), "{like}");
    }
}

#[test]
fn an_email_is_a_name_only_where_it_is_verified() {
    let by_email = |verified: Value| {
        let claims = json!({"email": "carol@example.com", "email_verified": verified});
        named("/email", REGISTERED, &claims, Some("corp/user/carol"))
    };
    assert_eq!(by_email(json!(true)).unwrap().describe().name().as_str(), "carol@example.com");
    for other in [json!(false), json!("true"), json!(1), Value::Null] {
        assert_eq!(by_email(other.clone()), Err(Denied::Unusable(Unusable::Name(NameError::Unverified))), "{other}");
    }
    let elsewhere = json!({"contact": {"email": "carol@example.com"}});
    assert!(named("/contact/email", REGISTERED, &elsewhere, Some("corp/user/carol")).is_ok());
}

#[test]
fn a_registered_name_is_its_owners_alone() {
    let claims = json!({"u": "Carol"});
    let refused = |owner: Option<&str>| {
        Err(Denied::Refused(Refused::NameOwned { name: "carol".into(), owner: owner.map(str::to_owned) }))
    };
    assert!(named("/u", REGISTERED, &claims, Some("corp/user/carol")).is_ok());
    for other in ["corp/user/mallory", "lab/user/carol", "corp/group/carol", "corp/user/Carol", "carol", ""] {
        for owners in [REGISTERED, FIRST_USE] {
            assert_eq!(named("/u", owners, &claims, Some(other)), refused(Some(other)), "{other}");
        }
    }
    assert_eq!(named("/u", REGISTERED, &claims, None), refused(None));
}

#[test]
fn a_name_that_nobody_owns_is_taken_at_its_first_use_folded() {
    let pending = named("/u", FIRST_USE, &json!({"u": "Carol"}), None).unwrap();
    let due = pending.dues.name.as_ref().unwrap();
    assert_eq!((due.name.as_str(), due.owner.as_str()), ("carol", "corp/user/carol"));
    assert_eq!(pending.describe().name().as_str(), "Carol");
}

#[test]
fn why_a_name_is_refused_is_told_to_the_operator() {
    let told = |owner: Option<&str>| named("/u", REGISTERED, &json!({"u": "Carol"}), owner).unwrap_err().to_string();
    assert_eq!(told(None), "the federated name `carol` is not registered");
    assert_eq!(told(Some("corp/user/bob")), "the federated name `carol` is owned by `corp/user/bob`");
}

#[test]
fn a_token_that_serves_once_is_due() {
    let spend = |config: Value| {
        let caller = caller_claiming(&config, &json!({"jti": "t-1"}));
        authorize(&caller, &request(None), matches_of(&caller, &[json!({})]), now()).unwrap().dues.token
    };
    let dead_from = i64::try_from(NOW + 600 + 30).unwrap();
    assert_eq!(spend(json!({"single_use": true})), Some(SingleUse { token_id: "t-1".into(), dead_from }));
    assert_eq!(spend(json!({})), None);
}
