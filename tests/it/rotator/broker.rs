//! The broker while its key is rotated: no request fails for it.

use std::time::Duration;

use serde_json::json;

use super::{Rotation, STEPS, Start};
use hallpass_testing::aws::sts;
use hallpass_testing::world::World;

#[tokio::test]
async fn the_broker_serves_before_and_after_every_step_and_every_hour() {
    let mut rotation = Rotation::new(Start::Placeholder).await;
    let mut world = World::new().await;
    for service in ["STS", "SECRETS_MANAGER"] {
        world.set(&format!("AWS_ENDPOINT_URL_{service}"), &rotation.account.server.url());
    }
    let rotator = rotation.rotator().await;
    rotation.play(&rotator, &STEPS).await;
    let broker = world.start().await;
    for _ in 0..3 {
        broker.call(world.request()).await.credentials();
        rotation = rotation.next();
        for step in STEPS {
            rotation.play(&rotator, &[step]).await;
            broker.call(world.request()).await.credentials();
        }
        rotation.assert_finished();
        rotation.account.age(Duration::from_hours(1));
        let hourly = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        assert!(rotator.invoke(&hourly).await.is_ok());
        broker.call(world.request()).await.credentials();
        let mints = sts::mints(&rotation.account.server.calls());
        assert_eq!(mints.last().map(|mint| mint.access_key.clone()), rotation.account.key_under("AWSCURRENT"));
    }
}
