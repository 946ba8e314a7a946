//! Memory that is free goes back to the operating system.

/// Gives back what was freed. glibc keeps it otherwise, for each of its arenas up to twice the largest block that was ever freed in one
/// piece (mallopt(3), M_MMAP_THRESHOLD): with a thread for each connection that is megabytes for every machine that has once read much.
/// Other allocators see to it themselves. It takes tens of microseconds; not for every command.
pub fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: malloc_trim(3) may be called by any thread at any time; it touches only what nobody has allocated.
        #[allow(unsafe_code)]
        let _whether_there_was_any = unsafe { libc::malloc_trim(0) };
    }
}
