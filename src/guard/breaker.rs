//! A circuit breaker: a store that fails is not asked for every request.
