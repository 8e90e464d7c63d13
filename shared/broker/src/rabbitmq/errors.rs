//! What the broker's errors mean to us.

use lapin::ErrorKind;

use crate::BrokerError;

/// The codes of AMQP 0-9-1, section 1.2.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const NOT_ALLOWED: u16 = 530;

/// The error of a call on a channel. What is missing can be made; what is forbidden stays so.
pub(super) fn translate(error: &lapin::Error, doing: &str) -> BrokerError {
    match code(error) {
        Some(ACCESS_REFUSED) => {
            BrokerError::Refused(format!("{doing}: this user may not; look at its permissions"))
        }
        Some(NOT_FOUND) => {
            let text = format!("{doing}: the broker has no such queue or exchange; load its definitions");
            BrokerError::Unavailable(text)
        }
        _ => BrokerError::Unavailable(format!("{doing}: {}", cause(error))),
    }
}

/// The error of a connection that could not be made.
pub(super) fn translate_connecting(error: &lapin::Error) -> BrokerError {
    match code(error) {
        Some(ACCESS_REFUSED) => BrokerError::Refused("it does not know this user with this password".into()),
        Some(NOT_ALLOWED) => {
            BrokerError::Refused("it has no such virtual host, or this user may not use it".into())
        }
        _ => BrokerError::Unavailable(format!("connecting: {}", cause(error))),
    }
}

/// Whether something of this name is not there.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    code(error) == Some(NOT_FOUND)
}

/// Whether the broker refused access to the exchange of this name.
pub(super) fn refuses_exchange(error: &lapin::Error, exchange: &str) -> bool {
    let names_it = |text: &str| text.contains(&format!("'{exchange}'"));
    matches!(error.kind(), ErrorKind::ProtocolError(amqp)
        if amqp.get_id() == ACCESS_REFUSED && names_it(amqp.get_message().as_str()))
}

fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => Some(amqp.get_id()),
        _ => None,
    }
}

/// The cause in words that hold neither address nor credentials.
fn cause(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::IOError(io) => io.to_string(),
        ErrorKind::ProtocolError(amqp) => amqp.get_message().to_string(),
        ErrorKind::MissingHeartbeatError => "it has fallen silent".into(),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            "the connection is lost".into()
        }
        _ => error.to_string(),
    }
}
