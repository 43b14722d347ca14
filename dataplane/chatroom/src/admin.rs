//! The server API, as calls of the owner of a room.

use throng_core::RoomId;
use throng_core::room::{Asker, EndReason, Now, Refusal};
use throng_proto::convert::{self as base, BadFrame};
use throng_proto::link::admin_request::Command;
use throng_proto::link::{AdminReply, AdminRequest};
use tokio::sync::oneshot;

use crate::actor::Actor;
use crate::convert;

/// Calls of the server API that may wait for the store at the same time.
const MAX_WAITING: usize = 10_000;

impl Actor {
    /// Answers a call; a publish is answered when it is ordered or stored.
    pub(crate) fn admin(&mut self, now: Now, request: AdminRequest, reply: oneshot::Sender<AdminReply>) {
        let answer = match self.command(now, request) {
            Ok(Answer::Now(answer)) => *answer,
            Ok(Answer::Publish(room, publish)) => {
                if self.calls.len() >= MAX_WAITING {
                    let _ = reply.send(convert::refused(room.as_str(), &Refusal::RoomLimited { retry_ms: 1_000 }));
                    return;
                }
                self.next_call += 1;
                self.calls.insert(self.next_call, reply);
                self.pod.publish(now, Asker::Server(self.next_call), &room, &publish);
                return;
            }
            Err(bad) => convert::bad_request(&bad),
        };
        let _ = reply.send(answer);
    }

    fn command(&mut self, now: Now, request: AdminRequest) -> Result<Answer, BadFrame> {
        let room = base::room(&request.room)?;
        let command = request.command.ok_or(BadFrame::Missing("command"))?;
        let address = self.address.clone();
        let describe =
            |room: &_| AdminReply { room: Some(convert::described(room, &address)), ..AdminReply::default() };
        let nothing = |()| AdminReply::default();
        let pod = &mut self.pod;
        let result = match command {
            Command::Create(settings) => {
                pod.create(now, &room, convert::overrides(settings)).map(|room| describe(&room))
            }
            Command::Update(settings) => {
                pod.update(now, &room, convert::overrides(settings)).map(|room| describe(&room))
            }
            Command::Destroy(why) => {
                let why = if why.is_empty() { "destroyed" } else { &why };
                pod.destroy(now, &room, EndReason::Destroyed(why.into())).map(nothing)
            }
            Command::Describe(_) => pod.describe(now, &room).map(|room| describe(&room)),
            Command::Members(page) => {
                let after = if page.after.is_empty() { None } else { Some(base::user(&page.after)?) };
                let page = pod.page(now, &room, after.as_ref(), convert::page_limit(page.limit));
                page.map(|page| AdminReply { members: Some(convert::page(page)), ..AdminReply::default() })
            }
            Command::Publish(publish) => {
                let (_, mut publish) = convert::publish(publish)?;
                publish.session = None;
                return Ok(Answer::Publish(room, Box::new(publish)));
            }
            Command::Delete(message) => pod.delete(now, &room, convert::stamp(&message)?).map(nothing),
            Command::Kick(user) => pod.kick(now, &room, &base::user(&user)?).map(nothing),
            Command::List(change) => {
                convert::list_change(change)?.and_then(|change| pod.change_list(now, &room, change)).map(nothing)
            }
            Command::ReadList(list) => list
                .parse()
                .map_err(Refusal::List)
                .and_then(|list| pod.read_list(now, &room, list))
                .map(|entries| AdminReply { list: Some(convert::list(entries)), ..AdminReply::default() }),
        };
        let answer = result.unwrap_or_else(|refusal| convert::refused(room.as_str(), &refusal));
        Ok(Answer::Now(Box::new(answer)))
    }
}

enum Answer {
    Now(Box<AdminReply>),
    Publish(RoomId, Box<throng_core::room::Publish>),
}
