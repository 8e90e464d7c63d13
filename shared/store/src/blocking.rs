//! Threads that may wait for a disk.

use std::cell::Cell;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Does something on a thread that nobody else waits for: a store that has to block its thread does so right here, instead
/// of going to another thread and back for every call. For callers that are on a blocking thread already.
pub fn on_blocking_thread<T>(work: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _reset = Reset(MAY_BLOCK.replace(true));
    work()
}

/// Whether this thread may block now.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_block_inside_only_even_after_a_panic() {
        assert!(!may_block());
        assert!(on_blocking_thread(|| on_blocking_thread(may_block) && may_block()));
        let panics = || on_blocking_thread(|| std::panic::resume_unwind(Box::new(())));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(!may_block());
    }
}
