//! How the C library's allocator gives memory back.

/// Has memory that is freed go back to the system. By itself glibc keeps an arena for each thread, and after the first large block
/// that is freed it takes the next ones from these, where a small block behind one keeps all of it. Measured on 72 uploads of 19 MB:
/// 329 MiB stayed resident, and 57 with these settings, at the same speed.
///
/// To be called before there are other threads.
pub fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const ARENAS: libc::c_int = 2;
        const LARGE_BYTES: libc::c_int = 128 << 10;
        #[allow(
            unsafe_code,
            reason = "there is no other way to say it to the C library"
        )]
        // SAFETY: these set numbers of the allocator's; nothing else runs yet that might use it.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, ARENAS);
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE_BYTES);
        }
    }
}
