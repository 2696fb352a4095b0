//! The allocator that keeps a baked component small and its contents clean.
//!
//! A snapshot stores every byte of memory that is not zero. Loading a model frees far more than it keeps: the file, the
//! parsed graph, the activations of the first run. While baking, what is freed is therefore overwritten with zeros;
//! while serving, this costs one branch.

#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its interface, and so is memory that it knows nothing of"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static BAKING: AtomicBool = AtomicBool::new(false);

/// Zeroes freed memory from now on, until called with `false`.
pub fn zero_freed_memory(on: bool) {
    BAKING.store(on, Ordering::Relaxed);
}

/// Bytes that lie beyond the heap for the rest of the instance's life, and are zeros once this is dropped.
///
/// The heap's own records reach to its end, and a snapshot stores everything up to the last byte that is not zero: a model
/// must be read from somewhere else for the snapshot to end with the model.
pub struct Aside(&'static mut [u8]);

impl Aside {
    /// Copies bytes there.
    pub fn new(bytes: &[u8]) -> Self {
        let aside = match beyond_the_heap(bytes.len()) {
            Some(aside) => {
                aside.copy_from_slice(bytes);
                aside
            }
            None => bytes.to_vec().leak(),
        };
        Self(aside)
    }
}

impl std::ops::Deref for Aside {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&*self.0);
    }
}

/// New memory that the allocator knows nothing of; none where there is no more.
#[cfg(target_family = "wasm")]
fn beyond_the_heap(len: usize) -> Option<&'static mut [u8]> {
    const PAGE: usize = 65_536;
    let page = core::arch::wasm32::memory_grow::<0>(len.div_ceil(PAGE));
    if page == usize::MAX {
        return None;
    }
    // SAFETY: these pages are new: zeros, in bounds, and nobody else's, as the allocator uses only pages that it grew itself.
    Some(unsafe { std::slice::from_raw_parts_mut((page * PAGE) as *mut u8, len) })
}

#[cfg(not(target_family = "wasm"))]
fn beyond_the_heap(_len: usize) -> Option<&'static mut [u8]> {
    None
}

/// The system's allocator, with freed memory zeroed while baking.
pub struct Zeroing;

// SAFETY: every call is passed on to `System` with its arguments unchanged; a block is written to only before it is
// given back, within its own size.
unsafe impl GlobalAlloc for Zeroing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are `System`'s conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are `System`'s conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if BAKING.load(Ordering::Relaxed) {
            // SAFETY: the caller gives up a live block of this size.
            unsafe { block.write_bytes(0, layout.size()) };
            // The optimiser drops writes to memory that nobody reads before it is freed; it may not drop this one.
            std::hint::black_box(block);
        }
        // SAFETY: the caller's promises are `System`'s conditions.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !BAKING.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are `System`'s conditions.
            return unsafe { System.realloc(block, layout, new_size) };
        }
        // Moved by hand, so that the old place is zeroed as well.
        // SAFETY: `new_size` is not 0 and does not overflow, as the caller promises.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the new layout has a size, as above.
        let new_block = unsafe { self.alloc(new_layout) };
        if !new_block.is_null() {
            // SAFETY: both blocks are live, apart, and at least this long.
            unsafe { new_block.copy_from_nonoverlapping(block, layout.size().min(new_size)) };
            // SAFETY: the old block is the caller's, with its layout, and is not used again.
            unsafe { self.dealloc(block, layout) };
        }
        new_block
    }
}
