//! Questions to real servers: those of rustls, and `openssl s_server`, which still accepts what rustls never did.

mod openssl;
mod renegotiation;
mod scan;
mod servers;
