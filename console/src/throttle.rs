//! How often somebody may try.
//!
//! Each key has a place in a table of fixed size, chosen by a hash that nobody outside can foretell: whatever an attacker
//! sends, no more memory is taken and nothing is forgotten. Two keys in one place share their tries. A place is one number
//! (the generic cell rate algorithm, ATM Forum TM 4.0): when the tries that were taken will all be given back.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Places: half a megabyte of them.
const PLACES: usize = 1 << 16;

/// A limit.
pub(crate) struct Throttle {
    places: Mutex<Vec<i64>>,
    hasher: RandomState,
    tries: i64,
    seconds: i64,
}

impl Throttle {
    /// So many tries at once, and one more every so many seconds.
    pub(crate) fn new(tries: i64, seconds: i64) -> Self {
        Self { places: Mutex::new(vec![0; PLACES]), hasher: RandomState::new(), tries, seconds }
    }

    /// Takes a try at this time.
    ///
    /// # Errors
    /// Where none is left: after how many seconds one will be.
    pub(crate) fn take(&self, key: &[u8], now: i64) -> Result<(), i64> {
        self.with_place(key, |place| {
            let given_back = (*place).max(now) + self.seconds;
            let wait = given_back - now - self.tries * self.seconds;
            if wait > 0 {
                return Err(wait);
            }
            *place = given_back;
            Ok(())
        })
    }

    /// Gives a try back that was none.
    pub(crate) fn give_back(&self, key: &[u8]) {
        self.with_place(key, |place| *place -= self.seconds);
    }

    fn with_place<T>(&self, key: &[u8], change: impl FnOnce(&mut i64) -> T) -> T {
        #[allow(clippy::cast_possible_truncation)] // any of them will do
        let place = self.hasher.hash_one(key) as usize % PLACES;
        change(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner)[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_tries_one_has_to_wait_and_others_have_not() {
        let throttle = Throttle::new(3, 60);
        assert_eq!([0, 0, 1].map(|now| throttle.take(b"ada", now)), [Ok(()); 3]);
        assert_eq!(throttle.take(b"ada", 10), Err(50));
        assert_eq!(throttle.take(b"ada", 10), Err(50), "to ask too early costs nothing more");
        assert_eq!(throttle.take(b"bob", 10), Ok(()));
        assert_eq!(throttle.take(b"ada", 60), Ok(()));
        assert_eq!(throttle.take(b"ada", 61), Err(59));
        throttle.give_back(b"ada");
        assert_eq!(throttle.take(b"ada", 61), Ok(()));
    }

    #[test]
    fn a_million_names_take_no_more_memory_than_one() {
        let throttle = Throttle::new(3, 60);
        for number in 0..1_000_000u32 {
            let _ = throttle.take(&number.to_le_bytes(), 0);
        }
        let places = throttle.places.lock().unwrap();
        assert_eq!((places.len(), places.capacity()), (PLACES, PLACES));
    }
}
