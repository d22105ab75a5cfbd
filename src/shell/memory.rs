//! Returns unused memory to the system, and gets memory that is needed soon at once.

/// Bytes that [`stretch`] prepares (chosen: the allocator would keep larger ones apart, or give them back at once).
pub const STRETCH_BYTES: usize = 96 * 1024;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use glibc::{keep_apart, stretch, trim};
#[cfg(target_os = "linux")]
pub use linux::drop_code;

/// The size of a page of this system: 4 KB as a rule, 16 or 64 on some of arm64 and powerpc64.
pub fn page_bytes() -> usize {
    rustix::param::page_size()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod glibc {
    use super::page_bytes;

    /// A piece of this size or more has its own pages (chosen: glibc's initial value).
    const APART_BYTES: i32 = 128 * 1024;

    /// Sets the allocator to keep large pieces apart, always. Without this it stops when the first of them is freed: the
    /// tables of many connections would then grow by copying, and leave holes (measured: 736 bytes in place of 479 for each
    /// of 8,900 idle tunnels, if as many had existed before).
    pub fn keep_apart() {
        // SAFETY: takes no pointer, and may be called at any time from any thread (mallopt(3)).
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, APART_BYTES);
        }
    }

    /// Makes the system populate the memory that the allocator will lend this thread next, many pages at once. One at a time,
    /// on the first touch, pages cost more than the work on them, and a thread's heap grows by a call for each (measured
    /// while a cache of 4 KB bodies is loaded: 0.5 of 1.6 s per GB are saved). Linux 5.14; older systems refuse, without
    /// harm.
    pub fn stretch() {
        let mut piece: Vec<u8> = Vec::new();
        if piece.try_reserve_exact(super::STRETCH_BYTES).is_err() {
            return;
        }
        let (start, page) = (piece.as_mut_ptr(), page_bytes());
        let before = start.align_offset(page);
        let bytes = super::STRETCH_BYTES.saturating_sub(before) / page * page;
        // SAFETY: these pages lie within the piece, which belongs to this function, and keep their content (madvise(2)).
        unsafe {
            libc::madvise(start.wrapping_add(before).cast(), bytes, libc::MADV_POPULATE_WRITE);
        }
        // The piece is freed here, and the next allocations are cut out of it.
    }

    /// Makes the allocator return empty pages. Otherwise memory that was freed in the middle of its heap stays with
    /// the process: after a burst that is nearly all of it.
    pub fn trim() {
        // SAFETY: takes no pointer, and may be called at any time from any thread (malloc_trim(3)).
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod linux {
    use super::page_bytes;

    /// Releases the mapped pages of code and constants; pages that are needed come back one by one from the system's page
    /// cache. Most pages that the start needed, and pages that were mapped only because they lie beside those, are not needed
    /// again (measured: 6.4 MB before, 3.1 MB after the start, 4.6 MB under load).
    pub fn drop_code() {
        // SAFETY: the callback has the required type, and gets no data of ours (dl_iterate_phdr(3)).
        unsafe {
            libc::dl_iterate_phdr(Some(drop_segments), std::ptr::null_mut());
        }
    }

    /// Drops the segments of one loaded object that nothing has written to.
    unsafe extern "C" fn drop_segments(
        object: *mut libc::dl_phdr_info,
        _: libc::size_t,
        _: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the object and its program headers belong to the loader, and do not change during this call.
        let (base, segments) = unsafe {
            let Some(object) = object.as_ref() else { return 0 };
            if object.dlpi_phdr.is_null() {
                return 0;
            }
            let count = usize::from(object.dlpi_phnum);
            (object.dlpi_addr as usize, std::slice::from_raw_parts(object.dlpi_phdr, count))
        };
        for segment in segments {
            if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
                continue;
            }
            let start = base + segment.p_vaddr as usize;
            let page = page_bytes();
            let (first, end) = (start.next_multiple_of(page), start + segment.p_filesz as usize);
            let bytes = (end / page * page).saturating_sub(first);
            // SAFETY: the segment is mapped from a file and was never writable, so its pages have the same content when they
            // are touched again (madvise(2)).
            unsafe {
                libc::madvise(std::ptr::without_provenance_mut(first), bytes, libc::MADV_DONTNEED);
            }
        }
        0
    }
}

/// Does nothing for other allocators.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_apart() {}

/// Does nothing for other allocators.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}

/// Does nothing for other allocators.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn stretch() {}

/// Does nothing on other systems.
#[cfg(not(target_os = "linux"))]
pub fn drop_code() {}
