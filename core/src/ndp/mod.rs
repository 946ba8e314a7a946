//! The one answer to iPXE's router solicitation (RFC 4861 6.2).
