//! Work on all processors.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Applies `work` to each item, and returns the results in order. The calling thread takes part. There are no more
/// threads than processors, because an allocator keeps memory for each thread.
#[must_use]
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let some = || {
        let mut made = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => made.push((at, work(item))),
                None => return made,
            }
        }
    };
    let mut made = std::thread::scope(|scope| {
        let others = 1..threads.min(items.len());
        let others: Vec<_> = others.map(|_| scope.spawn(some)).collect();
        let mut made = some();
        for other in others {
            made.extend(other.join().unwrap_or_else(|e| resume_unwind(e)));
        }
        made
    });
    made.sort_unstable_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(
            super::map(&items, |i| i * 2),
            (0..200).step_by(2).collect::<Vec<_>>()
        );
        assert_eq!(super::map(&[0u8; 0], |i| *i), Vec::<u8>::new());
    }
}
