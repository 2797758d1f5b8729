//! From where a session works.

use serde_json::{Value, json};

use hallpass_testing::clock;
use hallpass_testing::events::SOURCE_IP;
use hallpass_testing::world::{World, policy, statement};

/// The statement that keeps a session to these addresses.
fn pinned_to(network: &str) -> Value {
    json!({
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {
            "NotIpAddress": {"aws:SourceIp": network},
            "BoolIfExists": {"aws:ViaAWSService": "false"},
        },
    })
}

/// A world where carol's grant is pinned.
async fn pinning() -> World {
    let world = World::new().await;
    let item = json!({"policy": policy(&["s3:ListBucket"]), "pin_source_ip": true});
    world.dynamodb.grant("corp/user/carol", "default", &item);
    world
}

#[tokio::test]
async fn a_pinned_session_is_kept_to_the_callers_address() {
    let world = pinning().await;
    let function = world.start().await;
    for (address, network) in [
        (SOURCE_IP, "203.0.113.7/32"),
        ("198.51.100.23", "198.51.100.23/32"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6/128"),
    ] {
        world.sts.server.forget_calls();
        function.call(world.request().sent_from(address)).await.credentials();
        assert_eq!(world.sts.only_mint().statements(), [pinned_to(network), statement(&["s3:ListBucket"])]);
    }
}

#[tokio::test]
async fn an_address_is_never_taken_from_a_header() {
    let world = pinning().await;
    let function = world.start().await;
    for header in ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip", "cf-connecting-ip"] {
        world.sts.server.forget_calls();
        function.call(world.request().header(header, "192.0.2.66")).await.credentials();
        assert_eq!(world.sts.only_mint().statements()[0], pinned_to("203.0.113.7/32"), "{header}");
    }
}

#[tokio::test]
async fn any_item_pins_the_whole_session() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({}));
    world.dynamodb.grant("corp/group/deployers", "default", &json!({"pin_source_ip": true}));
    world.dynamodb.grant("corp/everyone", "default", &json!({"pin_source_ip": false}));
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert_eq!(world.sts.only_mint().statements(), [pinned_to("203.0.113.7/32")]);
}

#[tokio::test]
async fn nothing_is_pinned_that_does_not_ask_for_it() {
    let world = World::new().await;
    let lapsed = json!({"pin_source_ip": true, "not_after": clock::now() - 1});
    world.dynamodb.grant("corp/everyone", "default", &lapsed);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert_eq!(world.sts.only_mint().statements(), [statement(&["s3:ListBucket"])]);
}

#[tokio::test]
async fn a_pinned_grant_from_no_address_is_refused() {
    let world = pinning().await;
    let function = world.start().await;
    for address in [json!(null), json!(""), json!("unknown"), json!("203.0.113.7, 192.0.2.66"), json!("203.0.113.0/24")]
    {
        let request = world.request().with(|event| event["requestContext"]["http"]["sourceIp"] = address.clone());
        let answer = function.call(request).await;
        assert_eq!(answer.status, 400, "{address}: {answer:?}");
        answer.refusal(400, "invalid_request");
    }
    assert!(world.sts.mints().is_empty());
}
