//! Members of rooms.

use super::*;

pub(super) async fn members_come_back_page_by_page(world: &World) {
    let store = world.store("a").await;
    let all: BTreeMap<u64, Member> = (1..=12_000).map(|session| (session, member(session))).collect();
    for chunk in all.values().cloned().collect::<Vec<_>>().chunks(2_000) {
        let set = |member: &Member| Write::SetMember { room: room(), shard: 1, member: member.clone() };
        write(&store, 1, chunk.iter().map(set).collect()).await.unwrap();
    }
    let gone = Write::RemoveMember { room: room(), shard: 1, session: SessionId(5) };
    write(&store, 1, vec![gone]).await.unwrap();
    let mut found = BTreeMap::new();
    let (mut from, mut pages) = (MemberCursor { shard: 1, position: 0 }, 0);
    loop {
        let page = store.members(room(), from).await.unwrap();
        pages += 1;
        found.extend(page.members.into_iter().map(|member| (member.session.0, member)));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert!(pages > 1, "12,000 members are not read at once");
    let mut expected = all;
    expected.remove(&5);
    assert!(found == expected, "{} members", found.len());
    assert!(store.members(room(), MemberCursor::default()).await.unwrap().members.is_empty());
}

pub(super) async fn cleared_members_are_gone_and_late_writers_refused(world: &World) {
    let store = world.store("a").await;
    let set = Write::SetMember { room: room(), shard: 0, member: member(1) };
    write(&store, 5, vec![set.clone()]).await.unwrap();
    write(&store, 5, vec![Write::ClearMembers { room: room(), shard: 0 }]).await.unwrap();
    assert!(store.members(room(), MemberCursor::default()).await.unwrap().members.is_empty());
    assert_eq!(write(&store, 4, vec![set]).await, Err(StoreError::Stale { epoch: Epoch(5) }));
}
