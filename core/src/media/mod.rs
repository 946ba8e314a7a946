//! Installers: kernels, initrds, answer files.
