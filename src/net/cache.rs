//! How is something kept that must be fetched, so that no request waits for more than it needs?
//!
//! At most one fetch is under way; whoever needs its result joins it. It runs as a task of its own: it outlives the
//! request that began it, and no lock is held while the network is asked. What is held is replaced only by what was
//! fetched whole. Ages are wall clock, so that a frozen function wakes old.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

/// More than two requests of one function read the clock apart, and less than any age that counts.
const CLOCK_JITTER: Duration = Duration::from_secs(5);

/// A fetch under way. Awaiting it is optional.
pub(crate) type Flight<T, E> = Shared<BoxFuture<'static, Result<Arc<T>, E>>>;

/// A value with the time it was asked for.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub(crate) value: Arc<T>,
    pub(crate) age: Duration,
}

/// A value that is fetched again and again.
#[derive(Debug)]
pub(crate) struct Cache<T, E> {
    state: Arc<Mutex<State<T, E>>>,
    /// No fetch takes longer: one that looks older was frozen with the function, and nobody waits for it any more.
    longest: Duration,
    /// What those who joined hear where a fetch ended without a result.
    lost: E,
}

#[derive(Debug)]
struct State<T, E> {
    held: Option<Fetched<T>>,
    /// How many fetches were begun.
    begun: u64,
    asked_at: Option<SystemTime>,
    in_flight: Option<InFlight<T, E>>,
}

#[derive(Debug)]
struct InFlight<T, E> {
    flight: Flight<T, E>,
    begun_at: SystemTime,
    /// Whether it goes on in the background of a request that needed no result.
    in_background: bool,
}

#[derive(Debug)]
struct Fetched<T> {
    value: Arc<T>,
    asked_at: SystemTime,
    /// The number of its fetch: a younger fetch is one that was begun later, whatever the clock said then.
    number: u64,
}

impl<T, E> Cache<T, E>
where
    T: Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(lost: E, longest: Duration) -> Self {
        let state = State { held: None, begun: 0, asked_at: None, in_flight: None };
        Self { state: Arc::new(Mutex::new(state)), longest, lost }
    }

    /// What is held, however old.
    pub(crate) fn held(&self, now: SystemTime) -> Option<Held<T>> {
        let state = lock(&self.state);
        state.held.as_ref().map(|held| Held { value: Arc::clone(&held.value), age: age(held.asked_at, now) })
    }

    /// How long it is since a fetch was last begun by [`Self::fetch_at_most_every`].
    pub(crate) fn asked_ago(&self, now: SystemTime) -> Option<Duration> {
        lock(&self.state).asked_at.map(|asked| age(asked, now))
    }

    /// Lets [`Self::fetch_at_most_every`] begin a fetch at once again.
    #[cfg(feature = "aws")]
    pub(crate) fn allow_again(&self) {
        lock(&self.state).asked_at = None;
    }

    /// Joins the fetch under way, or begins one; but none where one was begun less than `interval` ago.
    pub(crate) fn fetch_at_most_every(
        &self,
        interval: Duration,
        now: SystemTime,
        fetch: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Option<Flight<T, E>> {
        let mut state = lock(&self.state);
        if let Some(flight) = self.under_way(&state, now) {
            return Some(flight);
        }
        if state.asked_at.is_some_and(|asked| age(asked, now) < interval) {
            return None;
        }
        state.asked_at = Some(now);
        Some(self.begin(&mut state, now, fetch))
    }

    /// Joins the fetch under way, or begins one that does not count as asked for.
    pub(crate) fn fetch(
        &self,
        now: SystemTime,
        fetch: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Flight<T, E> {
        let mut state = lock(&self.state);
        self.under_way(&state, now).unwrap_or_else(|| self.begin(&mut state, now, fetch))
    }

    /// Joins the fetch under way, or begins one, in the background: the request does not need the result. No fetch is
    /// begun if one was begun less than `interval` ago.
    pub(crate) fn refresh_at_most_every(
        &self,
        interval: Duration,
        now: SystemTime,
        fetch: impl Future<Output = Result<T, E>> + Send + 'static,
    ) {
        if self.fetch_at_most_every(interval, now, fetch).is_some()
            && let Some(in_flight) = &mut lock(&self.state).in_flight
        {
            in_flight.in_background = true;
        }
    }

    /// Waits for the fetch in the background to end, if there is one. Whether it went well shows in the next request.
    pub(crate) async fn refreshed(&self, now: SystemTime) {
        let flight = {
            let state = lock(&self.state);
            let in_background = state.in_flight.as_ref().is_some_and(|in_flight| in_flight.in_background);
            if in_background { self.under_way(&state, now) } else { None }
        };
        if let Some(flight) = flight {
            // Its failure was logged where it happened.
            let _ = flight.await;
        }
    }

    fn under_way(&self, state: &State<T, E>, now: SystemTime) -> Option<Flight<T, E>> {
        // A finished flight that somebody awaited can be seen to be finished; one that nobody awaited is finished by
        // awaiting it, at no cost.
        let young = |in_flight: &&InFlight<T, E>| age(in_flight.begun_at, now) < self.longest;
        let InFlight { flight, .. } = state.in_flight.as_ref().filter(young)?;
        match flight.clone().now_or_never() {
            Some(_) => None,
            None => Some(flight.clone()),
        }
    }

    fn begin(
        &self,
        state: &mut State<T, E>,
        now: SystemTime,
        fetch: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Flight<T, E> {
        let (shared, lost) = (Arc::clone(&self.state), self.lost.clone());
        state.begun = state.begun.saturating_add(1);
        let number = state.begun;
        let task = tokio::spawn(async move {
            let value = Arc::new(fetch.await?);
            let mut state = lock(&shared);
            // One that was overtaken by a younger one, while it was frozen, is no news.
            if state.held.as_ref().is_none_or(|held| held.number < number) {
                state.held = Some(Fetched { value: Arc::clone(&value), asked_at: now, number });
            }
            Ok(value)
        });
        let flight = task.map(|ended| ended.unwrap_or(Err(lost))).boxed().shared();
        state.in_flight = Some(InFlight { flight: flight.clone(), begun_at: now, in_background: false });
        flight
    }
}

fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
    // Each change is one assignment, so that a panic elsewhere cannot leave half of one behind.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long ago `since` was. Of two requests the later one may have read the clock a little earlier. A clock that was
/// set back further says nothing about ages any more: what it makes look newer than new counts as old.
fn age(since: SystemTime, now: SystemTime) -> Duration {
    match now.duration_since(since) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() <= CLOCK_JITTER => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::UNIX_EPOCH;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const LONGEST: Duration = Duration::from_secs(2);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_thousand_who_ask_at_once_share_one_fetch() {
        let cell = Cache::<u32, ()>::new((), LONGEST);
        let fetches = Arc::new(AtomicUsize::new(0));
        let flights: Vec<_> = (0..1000)
            .map(|_| {
                let fetches = Arc::clone(&fetches);
                cell.fetch_at_most_every(MINUTE, at(0), async move {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok(7)
                })
            })
            .collect();
        for flight in flights {
            assert_eq!(flight.unwrap().await.map(|value| *value), Ok(7));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_interval_counts_from_when_a_fetch_was_asked_for() {
        let cell = Cache::<u32, ()>::new((), LONGEST);
        cell.fetch(at(0), async { Ok(1) }).await.unwrap();
        cell.fetch_at_most_every(MINUTE, at(1), async { Ok(2) }).unwrap().await.unwrap();
        assert!(cell.fetch_at_most_every(MINUTE, at(60), async { Ok(3) }).is_none());
        assert_eq!(cell.asked_ago(at(60)), Some(Duration::from_secs(59)));
        assert_eq!(cell.fetch_at_most_every(MINUTE, at(61), async { Ok(4) }).unwrap().await.map(|v| *v), Ok(4));
    }

    #[tokio::test]
    async fn a_failure_leaves_what_is_held_and_its_age() {
        let cell = Cache::<u32, &str>::new("lost", LONGEST);
        cell.fetch(at(0), async { Ok(1) }).await.unwrap();
        assert_eq!(cell.fetch(at(50), async { Err("no") }).await, Err("no"));
        let held = cell.held(at(60)).unwrap();
        assert_eq!((*held.value, held.age), (1, MINUTE));
    }

    #[tokio::test]
    async fn a_fetch_outlives_whoever_began_it() {
        let cell = Cache::<u32, ()>::new((), LONGEST);
        drop(cell.fetch(at(0), async { Ok(1) }));
        tokio::task::yield_now().await;
        assert_eq!(cell.held(at(0)).map(|held| *held.value), Some(1));
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_a_failure_and_the_next_one_is_made() {
        let cell = Cache::<u32, &str>::new("lost", LONGEST);
        assert_eq!(cell.fetch(at(0), async { panic!("on purpose") }).await, Err("lost"));
        assert_eq!(cell.fetch(at(0), async { Ok(1) }).await.map(|v| *v), Ok(1));
    }

    #[tokio::test]
    async fn only_a_fetch_in_the_background_is_waited_for_at_the_end() {
        let cell = Cache::<u32, ()>::new((), LONGEST);
        let (done, waiting) = tokio::sync::oneshot::channel::<()>();
        let flight = cell.fetch(at(0), async {
            let _ = waiting.await;
            Ok(1)
        });
        assert!(cell.refreshed(at(0)).now_or_never().is_some(), "the request that needs it waits for it itself");
        cell.refresh_at_most_every(MINUTE, at(0), async { Ok(2) });
        assert!(cell.refreshed(at(0)).now_or_never().is_none());
        done.send(()).unwrap();
        cell.refreshed(at(0)).await;
        assert_eq!(flight.now_or_never().unwrap().map(|value| *value), Ok(1), "joined, not begun again");
    }

    #[tokio::test]
    async fn a_fetch_that_was_frozen_is_not_waited_for_and_brings_no_news() {
        let cell = Cache::<u32, ()>::new((), LONGEST);
        let (thaw, frozen) = tokio::sync::oneshot::channel::<()>();
        let old = cell.fetch(at(0), async {
            let _ = frozen.await;
            Ok(1)
        });
        assert_eq!(cell.fetch_at_most_every(MINUTE, at(100), async { Ok(2) }).unwrap().await.map(|v| *v), Ok(2));
        thaw.send(()).unwrap();
        assert_eq!(old.await.map(|value| *value), Ok(1));
        assert_eq!(cell.held(at(100)).map(|held| *held.value), Some(2));
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_nothing_newer_than_new() {
        let cell = Cache::<u32, ()>::new((), LONGEST);
        cell.fetch_at_most_every(MINUTE, at(10_000), async { Ok(1) }).unwrap().await.unwrap();
        assert_eq!(cell.held(at(9_995)).unwrap().age, Duration::ZERO, "read by a request that began a little earlier");
        assert_eq!(cell.held(at(9_994)).unwrap().age, Duration::MAX);
        // Nor does it keep anything from being fetched, or what was fetched from being held.
        cell.fetch_at_most_every(MINUTE, at(5_000), async { Ok(2) }).unwrap().await.unwrap();
        let held = cell.held(at(5_001)).unwrap();
        assert_eq!((*held.value, held.age), (2, Duration::from_secs(1)));
    }
}
