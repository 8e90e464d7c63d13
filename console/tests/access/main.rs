//! Who gets in: the console's routes, asked without a network, by a clock that the tests turn.

mod audit;
mod desk;
mod hostile;
mod leaving;
mod login;
mod passwords;
mod proxy;
mod roles;
mod throttle;
