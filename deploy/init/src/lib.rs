//! What a cluster needs before its workers start. Both halves may run again at any time, also after an update of Modiolus:
//! what is there stays, what is missing is made, rights are set to those of the tables in [`member`].
//!
//! 1. [`secrets`], before the servers start: random passwords and keys in one folder, of which each member of the cluster
//!    gets its own few in a folder of its own, and the definitions that RabbitMQ loads.
//! 2. [`store`], once Garage runs: buckets, a key for each member, its rights, rules for unfinished uploads.
//!
//! Where broker and store are to be reached over TLS, [`tls`] makes certificates in the first half, and a [`door`] stands before
//! Garage, which has no TLS.

pub mod door;
pub mod garage;
pub mod member;
pub mod secrets;
pub mod store;
pub mod tls;
