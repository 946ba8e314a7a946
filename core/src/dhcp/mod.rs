//! DHCP (RFC 2131, 2132), ProxyDHCP and the PXE boot server on port 4011.
