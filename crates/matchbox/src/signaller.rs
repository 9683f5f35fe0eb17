//! The WebSocket to the signaling server, as matchbox_socket's own one. It also notes who is about to
//! connect, which the socket does not say: a peer that leaves before both ends are connected makes
//! matchbox_socket panic at the other one.

use std::sync::Arc;

use async_tungstenite::WebSocketStream;
use async_tungstenite::smol::{ConnectStream, connect_async_with_config};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use futures::StreamExt;
use matchbox_socket::async_trait::async_trait;
use matchbox_socket::{PeerEvent, PeerRequest, SignalingError, Signaller, SignallerBuilder};

use crate::shared::Shared;

/// The largest message of a signaling server: an offer takes some kilobytes.
const MESSAGE_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Signaling(pub(crate) Arc<Shared>);

#[async_trait]
impl SignallerBuilder for Signaling {
    /// Tries once: who follows a network tries again by itself.
    async fn new_signaller(
        &self,
        _attempts: Option<u16>,
        room_url: String,
    ) -> Result<Box<dyn Signaller>, SignalingError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        match connect_async_with_config(&room_url, Some(config)).await {
            Ok((socket, _)) => Ok(Box::new(Connected { socket, shared: Arc::clone(&self.0) })),
            Err(error) => Err(SignalingError::NegotiationFailed(Box::new(error.into()))),
        }
    }
}

struct Connected {
    socket: WebSocketStream<ConnectStream>,
    shared: Arc<Shared>,
}

#[async_trait]
impl Signaller for Connected {
    async fn send(&mut self, request: PeerRequest) -> Result<(), SignalingError> {
        let request = serde_json::to_string(&request)
            .map_err(|error| SignalingError::UserImplementationError(error.to_string()))?;
        Ok(self.socket.send(Message::Text(request.into())).await?)
    }

    async fn next_message(&mut self) -> Result<PeerEvent, SignalingError> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => return Err(SignalingError::UnknownFormat),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(SignalingError::StreamExhausted),
            };
            let event = serde_json::from_str(&text).map_err(|_| SignalingError::UnknownFormat)?;
            let is_for_us = self.shared.happened(|room| match &event {
                PeerEvent::IdAssigned(own) => room.joined(*own),
                PeerEvent::NewPeer(peer) | PeerEvent::Signal { sender: peer, .. } => {
                    room.peer_signals(*peer)
                }
                PeerEvent::PeerLeft(peer) => room.peer_left(*peer),
            });
            if is_for_us {
                return Ok(event);
            }
        }
    }
}
