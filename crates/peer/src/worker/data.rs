//! The own bytes of a game in the engine: commands are carried out, and what arrived is passed on
//! as the program takes it.

use std::time::Duration;

use voicemesh_session::client;
use voicemesh_session::data::PipeEvent;
use voicemesh_wire::PeerId;

use super::RoomWorker;
use crate::data::DataCommand;
use crate::event::{DataEvent, Event};

impl RoomWorker {
    /// What the program wants sent.
    pub(super) fn take_data_commands(&mut self) {
        self.ledger.take_commands(&mut self.data_commands);
        let Some(client) = self.engine.client_mut() else { return };
        for command in &self.data_commands {
            let done = match command {
                DataCommand::Send { to, how, bytes } => client.send_data(*to, *how, bytes.clone()),
                DataCommand::SendOn { to, channel, bytes, .. } => {
                    client.send_on(*to, *channel, bytes.clone())
                }
                DataCommand::Open { to, channel, how } => client.open_channel(*to, *channel, *how),
                DataCommand::Close { to, channel } => {
                    client.close_channel(*to, *channel);
                    Ok(())
                }
                DataCommand::Disconnect { peer } => {
                    client.disconnect_data(*peer);
                    Ok(())
                }
            };
            // The ledger has checked it; an event reports what has changed since then.
            if let Err(error) = done {
                tracing::debug!(%error, "a command came too late");
            }
        }
    }

    /// What came of it, and how much waits now.
    pub(super) fn take_data(&mut self, now: Duration) {
        while self.ledger.has_room()
            && let Some((peer, event)) =
                self.engine.client_mut().and_then(|client| client.poll_data(now))
        {
            self.data_event(now, peer, event);
        }
        let pipes = self.engine.client().into_iter().flat_map(|client| client.data_pipes());
        self.ledger
            .reconcile(&self.data_commands, pipes.map(|(peer, pipe)| (peer, pipe.queued_bytes())));
        self.data_commands.clear();
    }

    /// A peer has left: what it sent before is passed on first.
    pub(super) fn last_data_of(&mut self, now: Duration, peer: PeerId) {
        while let Some(event) =
            self.engine.client_mut().and_then(|client| client.poll_data_of(now, peer))
        {
            self.data_event(now, peer, event);
        }
        if let Some(client) = self.engine.client_mut() {
            client.forget_data(peer);
        }
        self.ledger.left(peer);
    }

    fn data_event(&mut self, now: Duration, peer: PeerId, event: client::DataEvent) {
        let event = match event {
            client::DataEvent::Pipe(PipeEvent::Message { channel, reliability, bytes }) => {
                match channel {
                    None => {
                        Event::Data(DataEvent::Message { from: peer, data: bytes, reliability })
                    }
                    Some(channel) => Event::Data(DataEvent::ChannelMessage {
                        from: peer,
                        channel,
                        data: bytes,
                        reliability,
                    }),
                }
            }
            client::DataEvent::Pipe(PipeEvent::Opened { channel, reliability }) => {
                self.ledger.set_mismatch(peer, channel, None);
                Event::Data(DataEvent::ChannelOpened { peer, channel, reliability })
            }
            client::DataEvent::Pipe(PipeEvent::Mismatch { channel, ours, theirs }) => {
                self.ledger.set_mismatch(peer, channel, Some(theirs));
                Event::Data(DataEvent::ChannelMismatch { peer, channel, ours, theirs })
            }
            client::DataEvent::Pipe(PipeEvent::Closed { channel }) => {
                self.ledger.set_mismatch(peer, channel, None);
                Event::Data(DataEvent::ChannelClosed { peer, channel })
            }
            client::DataEvent::Disconnected { undelivered_bytes } => {
                self.ledger.disconnected(peer);
                Event::Data(DataEvent::Disconnected { peer, undelivered_bytes })
            }
        };
        self.report(now, event);
    }
}
