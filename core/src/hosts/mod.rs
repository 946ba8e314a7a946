//! Who is booting, how far, and since when: a fold over events.
