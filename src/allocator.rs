//! The program's allocator: a room for what a short life needs, and mimalloc for the rest.
//!
//! To start a program in a sandbox takes some hundred kilobytes, none of which anybody gives back: the process becomes
//! the program. mimalloc's first allocation reserves a gigabyte and asks for huge pages, so that the kernel clears two
//! megabytes: that alone was a sixth of the start. The room is part of the program's zeroed data, of which the kernel
//! makes those pages that are touched. Blocks are cut from it one after the other; the last one can be given back, or
//! grow where it is, any other is lost. When the room is used up, mimalloc is asked: a fifth of compiling a large
//! policy was glibc's allocator, as `callgrind` counts it, with a system call for each page that a thread's heap grew.
//!
//! `unsafe` stands here because the interface of an allocator is made of it.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Twice what it takes to start a program in a small policy; what a large one takes is better off with mimalloc.
const SIZE: usize = 384 << 10;

/// A room of `N` bytes, and mimalloc behind it.
pub struct Early<const N: usize = SIZE> {
    room: UnsafeCell<[u8; N]>,
    /// Where the next block begins.
    next: AtomicUsize,
}

// SAFETY: the room is touched through blocks alone, and no byte of it is in two of them: `next` is moved by one thread
// at a time, and only from the value on which the new one was computed.
unsafe impl<const N: usize> Sync for Early<N> {}

impl<const N: usize> Early<N> {
    /// With all of its room.
    pub const fn new() -> Self {
        Self {
            room: UnsafeCell::new([0; N]),
            next: AtomicUsize::new(0),
        }
    }

    fn start(&self) -> *mut u8 {
        self.room.get().cast()
    }

    /// Where in the room a block begins; `None`: it is mimalloc's.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let at = block.addr().wrapping_sub(self.start().addr());
        (at < N).then_some(at)
    }

    fn move_next(&self, from: usize, to: usize) -> bool {
        self.next
            .compare_exchange(from, to, Relaxed, Relaxed)
            .is_ok()
    }

    /// A block of the room; `None`: it has no place for it, or another thread came first.
    fn cut(&self, layout: Layout) -> Option<*mut u8> {
        let next = self.next.load(Relaxed);
        let end_of_room = self.start().addr() + N;
        let begin = (self.start().addr() + next).checked_next_multiple_of(layout.align())?;
        let end = begin
            .checked_add(layout.size())
            .filter(|end| *end <= end_of_room)?;
        let at = begin - self.start().addr();
        // SAFETY: `at` is within the room.
        self.move_next(next, end - self.start().addr())
            .then(|| unsafe { self.start().add(at) })
    }
}

// SAFETY: a block of the room is aligned, as large as was asked for, and nobody else's until it is given back; what
// is not of the room
// is mimalloc's from its beginning to its end.
unsafe impl<const N: usize> GlobalAlloc for Early<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.cut(layout)
            .unwrap_or_else(|| unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.cut(layout) {
            Some(block) => {
                // It may have been somebody's before.
                // SAFETY: the block is as large.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: as the caller promises.
            None => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(at) => {
                self.move_next(at + layout.size(), at);
            }
            // SAFETY: it is not of the room, so mimalloc made it.
            None => unsafe { MiMalloc.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(at) = self.offset(block) else {
            // SAFETY: it is not of the room, so mimalloc made it.
            return unsafe { MiMalloc.realloc(block, layout, size) };
        };
        let fits = at.checked_add(size).is_some_and(|end| end <= N);
        if fits && self.move_next(at + layout.size(), at + size) {
            return block;
        }
        // SAFETY: the caller promises a size that makes a layout; the blocks are not the same one, and each is at
        // least as large as
        // what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                block.copy_to_nonoverlapping(new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn blocks_are_aligned_and_apart_and_what_is_too_much_is_made_elsewhere() {
        let early: Early<4096> = Early::new();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let mut elsewhere = 0;
        for i in 0..400usize {
            let layout = layout(1 + i % 37, 1 << (i % 7));
            // SAFETY: the layout is not empty; the block is written within its size.
            let block = unsafe { early.alloc(layout) };
            assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()));
            unsafe { block.write_bytes(0xff, layout.size()) };
            let (from, to) = (block.addr(), block.addr() + layout.size());
            assert!(taken.iter().all(|(a, b)| to <= *a || *b <= from));
            taken.push((from, to));
            elsewhere += usize::from(early.offset(block).is_none());
        }
        assert!((100..400).contains(&elsewhere), "{elsewhere}");
    }

    #[test]
    fn what_a_block_holds_moves_with_it() {
        let early: Early<4096> = Early::new();
        // SAFETY: blocks are given back as they were taken, and read within their size.
        unsafe {
            let block = early.alloc(layout(100, 8));
            for i in 0..100 {
                block.add(i).write(i as u8);
            }
            let intact = |b: *mut u8, n: usize| (0..n).all(|i| b.add(i).read() == i as u8);
            // The last one grows where it is.
            let grown = early.realloc(block, layout(100, 8), 300);
            assert!(grown == block && intact(grown, 100));
            let after = early.alloc(layout(8, 8));
            after.write_bytes(0xee, 8);
            let moved = early.realloc(grown, layout(300, 8), 600);
            assert!(moved != grown && intact(moved, 100));
            assert!((0..8).all(|i| after.add(i).read() == 0xee));
            // Past the room.
            let out = early.realloc(moved, layout(600, 8), 5000);
            assert!(early.offset(out).is_none() && intact(out, 100));
            let shrunk = early.realloc(out, layout(5000, 8), 50);
            assert!(intact(shrunk, 50));
            early.dealloc(shrunk, layout(50, 8));
        }
    }

    #[test]
    fn what_is_given_back_last_is_given_out_again_and_zeroed_where_that_was_asked() {
        let early: Early<4096> = Early::new();
        // SAFETY: as above.
        unsafe {
            let block = early.alloc(layout(64, 16));
            block.write_bytes(0xff, 64);
            early.dealloc(block, layout(64, 16));
            let again = early.alloc_zeroed(layout(64, 16));
            assert_eq!(again, block);
            assert!((0..64).all(|i| again.add(i).read() == 0));
            // One that is not the last is not given out while another lives after it.
            let last = early.alloc(layout(16, 16));
            early.dealloc(again, layout(64, 16));
            let next = early.alloc(layout(16, 16));
            assert!(next.addr() >= last.addr() + 16);
        }
    }

    #[test]
    fn threads_get_blocks_of_their_own() {
        let early: Early<{ 1 << 16 }> = Early::new();
        std::thread::scope(|s| {
            for id in 1..=4u8 {
                let early = &early;
                s.spawn(move || {
                    for size in 1..200 {
                        // SAFETY: as above.
                        unsafe {
                            let block = early.alloc(layout(size, 1));
                            block.write_bytes(id, size);
                            assert!((0..size).all(|i| block.add(i).read() == id));
                            if size % 3 == 0 {
                                early.dealloc(block, layout(size, 1));
                            }
                        }
                    }
                });
            }
        });
    }
}
