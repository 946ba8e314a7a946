//! What Linux does for the seam. Other systems have no counterpart yet and answer `Unsupported`.

pub(super) mod hold;
pub(super) mod owner;
pub(super) mod ports;
pub(super) mod routes;
