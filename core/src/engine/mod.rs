//! Starts, supervises and stops it all; the only module that knows all the others.
