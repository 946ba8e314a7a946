//! Events to findings; iPXE's error numbers to sentences.
