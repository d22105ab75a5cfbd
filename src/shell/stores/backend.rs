//! The thread of a store for values and orders: takes them from the queue and hands them to the client in batches. One thread keeps
//! them in their order. Other threads ask the questions: see `asking`.

use super::store_state::{Question, StoreState};
use crate::guard::store::{StoreFailure, StoreOrder};
use crate::guard::values::{ValueAnswer, ValueRequest};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Most pieces of work that are taken from the queue at once (chosen).
const TAKEN_MAX: usize = 256;

/// Orders that are carried out between two batches of values (chosen).
const ORDERS_AT_ONCE: usize = 64;

/// Orders that could not be carried out are tried again after so long (chosen).
const ORDERS_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A client without work looks after its connections so often (guard semantics, section 3: health check after 30).
pub(super) const IDLE_AFTER: Duration = Duration::from_secs(30);

/// A request for a value, and the function that gets the answer.
pub(super) struct ValueQuestion {
    pub request: ValueRequest,
    pub asked_at: Instant,
    pub done: Box<dyn FnOnce(ValueAnswer) + Send>,
}

/// A piece of work in the queue of the thread.
pub(super) enum Work {
    Value(ValueQuestion),
    /// There are orders.
    Order,
}

/// A client of one kind of store.
pub(super) trait Backend {
    /// Answers all questions.
    fn ask(&mut self, questions: &[Question]);
    /// Answers all requests, in their order.
    fn answer_values(&mut self, requests: &[ValueRequest]) -> Vec<ValueAnswer>;
    /// Why questions have failed, without secrets, if more is known than the kind of their failure.
    fn last_error(&self) -> Option<String>;
    /// Whether all these orders are carried out, or never can be.
    fn carry_out(&mut self, orders: &[StoreOrder]) -> bool;
    /// Called once at the start, and when the queue was empty for a while.
    fn look_after_connections(&mut self);
}

/// Works until the client is dropped.
pub(super) fn run(
    backend: &mut impl Backend,
    queue: &Receiver<Work>,
    state: &Arc<StoreState>,
    deadline: Duration,
) {
    backend.look_after_connections();
    state.announce();
    let mut orders_again_at = Instant::now();
    let mut values = Vec::new();
    // Requests that are in the queue when the client is dropped are still answered.
    loop {
        match queue.recv_timeout(patience(state, orders_again_at, Instant::now())) {
            Ok(first) => {
                for work in std::iter::once(first).chain(queue.try_iter()).take(TAKEN_MAX) {
                    match work {
                        Work::Value(question) => values.push(question),
                        Work::Order => {}
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) if state.has_orders() => {}
            Err(RecvTimeoutError::Timeout) => backend.look_after_connections(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        serve(backend, std::mem::take(&mut values), state, deadline);
        if state.has_orders() && Instant::now() >= orders_again_at {
            let orders = state.take_orders(ORDERS_AT_ONCE);
            if !orders.is_empty() && !backend.carry_out(&orders) {
                state.return_orders(orders);
                orders_again_at = Instant::now() + ORDERS_AGAIN_AFTER;
            }
        }
    }
}

/// How long to wait for other work. Orders behind a batch that was carried out go at once.
fn patience(state: &StoreState, orders_again_at: Instant, now: Instant) -> Duration {
    if state.has_orders() { orders_again_at.saturating_duration_since(now) } else { IDLE_AFTER }
}

fn serve(backend: &mut impl Backend, questions: Vec<ValueQuestion>, state: &StoreState, deadline: Duration) {
    let now = Instant::now();
    let in_time = |question: &ValueQuestion| now.duration_since(question.asked_at) < deadline;
    let (sent, late): (Vec<_>, Vec<_>) = questions.into_iter().partition(in_time);
    state.note_values(late.iter().map(|_| Some(StoreFailure::Late)), None);
    late.into_iter().for_each(|question| (question.done)(ValueAnswer::Failed(StoreFailure::Late)));
    if sent.is_empty() {
        return;
    }
    let (requests, tellers): (Vec<_>, Vec<_>) =
        sent.into_iter().map(|question| (question.request, question.done)).unzip();
    let answers = backend.answer_values(&requests);
    state.note_values(answers.iter().map(ValueAnswer::failure), backend.last_error().as_deref());
    for (answer, done) in answers.into_iter().zip(tellers) {
        done(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_wait_only_after_a_failure() {
        let state = StoreState::new(|_, _| {}, |_| {}, Duration::from_secs(30));
        let now = Instant::now();
        assert_eq!(patience(&state, now, now), IDLE_AFTER);
        state.add_order(StoreOrder::Forget("k".into()));
        assert_eq!(patience(&state, now, now), Duration::ZERO);
        assert_eq!(patience(&state, now + ORDERS_AGAIN_AFTER, now), ORDERS_AGAIN_AFTER);
    }
}
