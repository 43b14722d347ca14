use super::apply::Apply;
use super::watch::Informer;
use super::*;

const NOW: Millis = Millis(5);

fn key(kind: Kind, name: &str) -> Key {
    (kind, name.to_owned())
}

fn pod(serving: bool) -> Object {
    let mut pod = Object::new(
        None,
        [("labels.role", "gateway".into()), ("labels.serving", serving.to_string()), ("spec.node", "n".into())],
    );
    pod.set_state("ready", true);
    pod
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
}

fn apply<'a>(manager: &'a str, force: bool, list: &[(&str, &str)]) -> Apply<'a> {
    Apply { manager, force, fields: fields(list), owner: None }
}

#[test]
fn a_name_is_given_once_and_a_second_object_of_it_has_another_uid() {
    let mut server = Server::default();
    let name = key(Kind::Pod, "a");
    let first = server.create(NOW, name.clone(), pod(true)).unwrap().unwrap();
    assert_eq!(server.create(NOW, name.clone(), pod(true)), Err(Refusal::AlreadyExists));
    server.delete(NOW, &name, &Expected::default(), true).unwrap();
    let second = server.create(NOW, name.clone(), pod(true)).unwrap().unwrap();
    assert_ne!(first.uid, second.uid);
    let old = Expected { uid: Some(first.uid.clone()), version: None };
    assert!(matches!(server.delete(NOW, &name, &old, false), Err(Refusal::Conflict(_))));
}

#[test]
fn a_write_that_expects_an_older_version_is_refused_and_one_that_changes_nothing_is_no_write() {
    let mut server = Server::default();
    let name = key(Kind::Pod, "a");
    let first = server.create(NOW, name.clone(), pod(true)).unwrap().unwrap();
    let seen = Expected { uid: None, version: Some(first.version) };
    server.edit(&name, &seen, |_| ()).unwrap();
    assert_eq!(server.revision(), first.version);
    server.edit(&name, &seen, |pod| pod.set_state("ready", false)).unwrap();
    assert!(matches!(server.edit(&name, &seen, |_| ()), Err(Refusal::Conflict(_))));
}

#[test]
fn fields_of_another_manager_are_taken_only_by_force_and_those_no_longer_wanted_go() {
    let mut server = Server::default();
    let name = key(Kind::Service, "s");
    let any = Expected::default();
    server.apply(NOW, &name, &any, &apply("throng", false, &[("spec.a", "1"), ("spec.b", "1")])).unwrap();
    server.edit(&name, &any, |service| service.set_field("spec.a", 2)).unwrap();
    let again = apply("throng", false, &[("spec.a", "1")]);
    assert!(matches!(server.apply(NOW, &name, &any, &again), Err(Refusal::Conflict(_))));
    assert_eq!(server.get(Kind::Service, "s").unwrap().field("spec.b"), "1", "nothing is half done");
    server.apply(NOW, &name, &any, &Apply { force: true, ..again }).unwrap();
    assert_eq!(server.get(Kind::Service, "s").unwrap().fields, fields(&[("spec.a", "1")]));
    assert_eq!(server.get(Kind::Service, "s").unwrap().generation, 3);
}

#[test]
fn an_object_with_a_finalizer_goes_when_the_last_one_is_taken_off_and_what_it_owns_goes_with_it() {
    let mut server = Server::default();
    let (name, any) = (key(Kind::Cluster, "live"), Expected::default());
    let cluster = server.create(NOW, name.clone(), Object { finalizers: ["f".into()].into(), ..Object::default() });
    let uid = cluster.unwrap().unwrap().uid.clone();
    server.create(NOW, key(Kind::Service, "s"), Object::new(Some(&uid), [])).unwrap();
    server.create(NOW, key(Kind::Pod, "p"), Object { owner: Some(uid), ..pod(true) }).unwrap();
    server.delete(NOW, &name, &any, false).unwrap();
    assert_eq!(server.get(Kind::Cluster, "live").unwrap().deleted_at, Some(NOW));
    server.collect_garbage(NOW);
    assert!(server.get(Kind::Service, "s").is_some());
    assert_eq!(server.edit(&name, &any, |cluster| cluster.finalizers.clear()), Ok(None));
    server.collect_garbage(NOW);
    assert!(server.get(Kind::Service, "s").is_none());
    assert!(server.get(Kind::Pod, "p").unwrap().deleted_at.is_some(), "a Pod has its time to end");
}

#[test]
fn the_status_is_written_apart_from_the_rest() {
    let mut server = Server::default();
    let name = key(Kind::Cluster, "live");
    server.create(NOW, name.clone(), Object::new(None, [("spec.a", "1".into())])).unwrap();
    server.apply_status(&name, &Expected::default(), fields(&[("x", "y")])).unwrap();
    let cluster = server.get(Kind::Cluster, "live").unwrap();
    assert_eq!((cluster.field("spec.a"), cluster.state("x"), cluster.generation), ("1", "y", 1));
}

#[test]
fn an_eviction_waits_for_the_budget_and_one_of_a_pod_that_does_not_serve_does_not() {
    let mut server = Server::default();
    for (name, serving) in [("a", true), ("b", true), ("c", false)] {
        server.create(NOW, key(Kind::Pod, name), pod(serving)).unwrap();
    }
    let budget = Object::new(None, [("spec.role", "gateway".into()), ("spec.min", "1".into())]);
    server.create(NOW, key(Kind::Budget, "gateway"), budget).unwrap();
    server.evict(NOW, "a").unwrap();
    assert_eq!(server.evict(NOW, "b"), Err(Refusal::TooManyRequests));
    server.evict(NOW, "c").unwrap();
    assert_eq!(server.evict(NOW, "d"), Err(Refusal::NotFound));
}

#[test]
fn a_watch_is_late_never_goes_back_and_is_refused_when_it_is_too_old() {
    let mut server = Server::default();
    let name = key(Kind::Pod, "a");
    server.create(NOW, name.clone(), pod(true)).unwrap();
    let mut informer = Informer::default();
    assert_eq!(informer.follow(&server, Kind::Pod, 0), Err(Refusal::Gone));
    informer.list(&server, Kind::Pod, 0);
    let restarts = |informer: &Informer| informer.view(Kind::Pod)["a"].state("restarts").to_owned();
    for i in 0..10 {
        server.edit(&name, &Expected::default(), |pod| pod.set_state("restarts", i)).unwrap();
    }
    informer.follow(&server, Kind::Pod, 3).unwrap();
    assert_eq!(restarts(&informer), "6");
    informer.follow(&server, Kind::Pod, 9).unwrap();
    assert_eq!(restarts(&informer), "6");
    for i in 0..100 {
        server.edit(&name, &Expected::default(), |pod| pod.set_state("restarts", i)).unwrap();
    }
    assert_eq!(informer.follow(&server, Kind::Pod, 0), Err(Refusal::Gone));
    informer.list(&server, Kind::Pod, 20);
    assert_eq!(restarts(&informer), "79");
}

#[test]
fn a_missed_change_stays_unseen_until_the_next_one_and_an_own_write_is_seen_at_once() {
    let mut server = Server::default();
    let name = key(Kind::Pod, "a");
    server.create(NOW, name.clone(), pod(true)).unwrap();
    let mut informer = Informer::default();
    informer.list(&server, Kind::Pod, 0);
    assert!(!informer.miss(&server, Kind::Pod, None), "nothing changed");
    server.edit(&name, &Expected::default(), |pod| pod.set_state("ready", false)).unwrap();
    assert!(informer.miss(&server, Kind::Pod, None));
    informer.follow(&server, Kind::Pod, 0).unwrap();
    assert_eq!(informer.view(Kind::Pod)["a"].state("ready"), "true");
    let own = server.edit(&name, &Expected::default(), |pod| pod.set_field("labels.serving", false)).unwrap().unwrap();
    informer.learn(name.clone(), own);
    assert_eq!(informer.view(Kind::Pod)["a"].field("labels.serving"), "false");
    assert_eq!(informer.view(Kind::Pod)["a"].state("ready"), "false");
    server.delete(NOW, &name, &Expected::default(), true).unwrap();
    informer.follow(&server, Kind::Pod, 0).unwrap();
    assert!(informer.view(Kind::Pod).is_empty());
}

#[test]
fn a_deletion_is_missed_by_the_number_of_its_write_and_no_other_is() {
    let mut server = Server::default();
    for name in ["a", "b"] {
        server.create(NOW, key(Kind::Pod, name), pod(true)).unwrap();
    }
    let mut informer = Informer::default();
    informer.list(&server, Kind::Pod, 0);
    server.delete(NOW, &key(Kind::Pod, "a"), &Expected::default(), true).unwrap();
    server.delete(NOW, &key(Kind::Pod, "b"), &Expected::default(), true).unwrap();
    let last = server.revision();
    assert!(!informer.miss(&server, Kind::Service, Some(last)), "no Service has gone");
    for other in [0, last - 2, last + 1] {
        assert!(!informer.miss(&server, Kind::Pod, Some(other)), "write {other} took nothing away");
    }
    assert!(informer.miss(&server, Kind::Pod, Some(last)));
    informer.follow(&server, Kind::Pod, 0).unwrap();
    assert!(informer.view(Kind::Pod).keys().eq(["b"]), "one deletion is seen, the other is not");
    assert!(!informer.is_whole());
    // Another of its name is seen; so is the next list.
    let again = server.create(NOW, key(Kind::Pod, "b"), pod(false)).unwrap().unwrap();
    informer.follow(&server, Kind::Pod, 0).unwrap();
    assert_eq!(informer.view(Kind::Pod)["b"].uid, again.uid);
    server.delete(NOW, &key(Kind::Pod, "b"), &Expected::default(), true).unwrap();
    informer.list(&server, Kind::Pod, 0);
    assert!(informer.view(Kind::Pod).is_empty() && informer.is_whole());
}
