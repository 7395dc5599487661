//! What a server of the mining protocol may say, read by the reference implementation's crates.

use binary_sv2::{GetSize, Serialize};
use common_messages_sv2::*;
use mining_sv2::*;

use super::line::{CHANNEL_MESSAGE, Frame};

macro_rules! messages {
    ($($kind:path, $channel:expr => $name:ident($type:ident, $owned:ty),)*) => {
        /// A message from the server.
        #[derive(Clone, Debug)]
        pub enum Message {
            $($name($owned),)*
        }

        impl Message {
            /// Reads a frame strictly: a message that a server may send, marked as the specification
            /// has it, with all its bytes and not one more. Errors: what is wrong, in words.
            pub fn read(frame: &Frame) -> Result<Message, String> {
                match frame.kind {
                    $($kind => {
                        marked(frame, $channel)?;
                        let mut bytes = frame.payload.clone();
                        let message: $type = binary_sv2::from_bytes(&mut bytes)
                            .map_err(|error| format!(concat!(stringify!($name), ": {}"), error))?;
                        same(&frame.payload, message.clone())?;
                        Ok(Message::$name(message.into_owned()))
                    })*
                    other => Err(format!("no server says {other:#04x}")),
                }
            }
        }
    };
}

messages! {
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, CHANNEL_BIT_SETUP_CONNECTION_SUCCESS
        => SetupSuccess(SetupConnectionSuccess, SetupConnectionSuccessOwned),
    MESSAGE_TYPE_SETUP_CONNECTION_ERROR, CHANNEL_BIT_SETUP_CONNECTION_ERROR
        => SetupError(SetupConnectionError, SetupConnectionErrorOwned),
    MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
        CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS
        => StandardOpened(OpenStandardMiningChannelSuccess, OpenStandardMiningChannelSuccessOwned),
    MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
        CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS
        => ExtendedOpened(OpenExtendedMiningChannelSuccess, OpenExtendedMiningChannelSuccessOwned),
    MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR
        => OpenError(OpenMiningChannelError, OpenMiningChannelErrorOwned),
    MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, CHANNEL_BIT_UPDATE_CHANNEL_ERROR
        => UpdateError(UpdateChannelError, UpdateChannelErrorOwned),
    MESSAGE_TYPE_CLOSE_CHANNEL, CHANNEL_BIT_CLOSE_CHANNEL
        => Close(CloseChannel, CloseChannelOwned),
    MESSAGE_TYPE_NEW_MINING_JOB, CHANNEL_BIT_NEW_MINING_JOB
        => StandardJob(NewMiningJob, NewMiningJobOwned),
    MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, CHANNEL_BIT_NEW_EXTENDED_MINING_JOB
        => ExtendedJob(NewExtendedMiningJob, NewExtendedMiningJobOwned),
    MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, CHANNEL_BIT_MINING_SET_NEW_PREV_HASH
        => PrevHash(SetNewPrevHash, SetNewPrevHashOwned),
    MESSAGE_TYPE_SET_TARGET, CHANNEL_BIT_SET_TARGET
        => Target(SetTarget, SetTargetOwned),
    MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, CHANNEL_BIT_SUBMIT_SHARES_SUCCESS
        => Accepted(SubmitSharesSuccess, SubmitSharesSuccess),
    MESSAGE_TYPE_SUBMIT_SHARES_ERROR, CHANNEL_BIT_SUBMIT_SHARES_ERROR
        => Refused(SubmitSharesError, SubmitSharesErrorOwned),
}

/// A message of the miner's as a frame.
pub fn frame<T: Serialize + GetSize>(kind: u8, for_a_channel: bool, message: T) -> Frame {
    let extension = if for_a_channel { CHANNEL_MESSAGE } else { 0 };
    Frame { extension, kind, payload: binary_sv2::to_bytes(message).unwrap() }
}

fn marked(frame: &Frame, for_a_channel: bool) -> Result<(), String> {
    let right = if for_a_channel { CHANNEL_MESSAGE } else { 0 };
    if frame.extension == right {
        return Ok(());
    }
    let (kind, extension) = (frame.kind, frame.extension);
    Err(format!("{kind:#04x} has the extension type {extension:#06x} instead of {right:#06x}"))
}

/// The crates' reader stops where a message ends, and takes more than one form of some fields.
fn same<T: Serialize + GetSize>(payload: &[u8], message: T) -> Result<(), String> {
    let written = binary_sv2::to_bytes(message).map_err(|error| error.to_string())?;
    if written == payload {
        return Ok(());
    }
    Err(format!("{} bytes are no form that a writer gives it, {}", payload.len(), written.len()))
}
