//! Which filters with wildcards want this subject?
//!
//! ```text
//!              root
//!             /    \
//!           "a"     *            here: filters that end at the node        a.*.c
//!            |      |            tail: filters that end here with `>`      a.>
//!            *    "b"            star: the child for `*`
//!            |
//!           "c"
//! ```
//!
//! Nodes live in one vector and point at each other by index; literal edges of all nodes live in
//! one hash table keyed by (parent, token). A node without filters and children is used again at
//! once, so the trie is never larger than the most that was subscribed. It answers this one question and
//! holds no lock and no cache.

use hashbrown::{Equivalent, HashMap};
use smallvec::SmallVec;

/// Values behind wildcard filters.
#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
    edges: HashMap<Edge, u32>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Node<T> {
    here: SmallVec<[T; 1]>,
    tail: SmallVec<[T; 1]>,
    /// Child for `*`, or `NONE`.
    star: u32,
    /// Number of literal children.
    literals: u32,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Edge {
    parent: u32,
    token: Box<str>,
}

/// An edge to look for without owning its token. Hashes like [`Edge`].
#[derive(Hash)]
struct EdgeRef<'a> {
    parent: u32,
    token: &'a str,
}

impl Equivalent<Edge> for EdgeRef<'_> {
    fn equivalent(&self, edge: &Edge) -> bool {
        self.parent == edge.parent && self.token == &*edge.token
    }
}

const ROOT: u32 = 0;
/// The root is nobody's child, so its index can mean "no child".
const NONE: u32 = ROOT;

impl<T: Clone + PartialEq> Trie<T> {
    pub(super) fn new() -> Trie<T> {
        Trie { nodes: vec![Node::new()], edges: HashMap::new(), free: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == self.free.len() + 1 && self.nodes[0].tail.is_empty()
    }

    pub(super) fn insert(&mut self, filter: &str, value: T) {
        let mut at = ROOT;
        for token in agentcom_protocol::tokens(filter) {
            if token == ">" {
                self.nodes[at as usize].tail.push(value);
                return;
            }
            at = self.child_or_insert(at, token);
        }
        self.nodes[at as usize].here.push(value);
    }

    /// Take one `value` out. `false` if it was not there.
    pub(super) fn remove(&mut self, filter: &str, value: &T) -> bool {
        self.change(filter, |values| {
            let position = values.iter().position(|found| found == value);
            if let Some(position) = position {
                values.swap_remove(position);
            }
            usize::from(position.is_some())
        }) > 0
    }

    /// Of the values under `filter`, keep those that `keep` wants. Returns how many are gone.
    pub(super) fn retain(&mut self, filter: &str, keep: impl Fn(&T) -> bool) -> usize {
        self.change(filter, |values| {
            let before = values.len();
            values.retain(|value| keep(value));
            before - values.len()
        })
    }

    /// Let `change` take values from under `filter` and say how many; give back empty nodes.
    fn change(
        &mut self,
        filter: &str,
        change: impl FnOnce(&mut SmallVec<[T; 1]>) -> usize,
    ) -> usize {
        let mut path: SmallVec<[(u32, &str); 8]> = SmallVec::new();
        let mut at = ROOT;
        let mut is_tail = false;
        for token in agentcom_protocol::tokens(filter) {
            if token == ">" {
                is_tail = true;
                break;
            }
            let Some(child) = self.child(at, token) else { return 0 };
            path.push((at, token));
            at = child;
        }
        let node = &mut self.nodes[at as usize];
        let removed = change(if is_tail { &mut node.tail } else { &mut node.here });
        if removed > 0 {
            self.prune(at, &path);
        }
        removed
    }

    /// Every value, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().flat_map(|node| node.here.iter().chain(&node.tail))
    }

    /// Append every value whose filter wants `subject`.
    pub(super) fn matching(&self, subject: &str, found: &mut Vec<T>) {
        let mut frontier: SmallVec<[u32; 16]> = SmallVec::new();
        let mut next: SmallVec<[u32; 16]> = SmallVec::new();
        frontier.push(ROOT);
        for token in agentcom_protocol::tokens(subject) {
            for &at in &frontier {
                let node = &self.nodes[at as usize];
                found.extend(node.tail.iter().cloned());
                if node.star != NONE {
                    next.push(node.star);
                }
                if node.literals > 0 {
                    next.extend(self.edges.get(&EdgeRef { parent: at, token }).copied());
                }
            }
            std::mem::swap(&mut frontier, &mut next);
            next.clear();
            if frontier.is_empty() {
                return;
            }
        }
        for at in frontier {
            found.extend(self.nodes[at as usize].here.iter().cloned());
        }
    }

    fn child(&self, parent: u32, token: &str) -> Option<u32> {
        match token {
            "*" => Some(self.nodes[parent as usize].star).filter(|&star| star != NONE),
            _ => self.edges.get(&EdgeRef { parent, token }).copied(),
        }
    }

    fn child_or_insert(&mut self, parent: u32, token: &str) -> u32 {
        if let Some(child) = self.child(parent, token) {
            return child;
        }
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::new());
            u32::try_from(self.nodes.len() - 1).expect("subscriptions are limited far below 2^32")
        });
        let node = &mut self.nodes[parent as usize];
        if token == "*" {
            node.star = child;
        } else {
            node.literals += 1;
            self.edges.insert(Edge { parent, token: token.into() }, child);
        }
        child
    }

    /// Give back `at` and its ancestors as far as they hold nothing any more.
    fn prune(&mut self, mut at: u32, path: &[(u32, &str)]) {
        for &(parent, token) in path.iter().rev() {
            if !self.nodes[at as usize].is_unused() {
                return;
            }
            self.nodes[at as usize] = Node::new();
            self.free.push(at);
            let node = &mut self.nodes[parent as usize];
            if token == "*" {
                node.star = NONE;
            } else {
                node.literals -= 1;
                self.edges.remove(&EdgeRef { parent, token });
            }
            at = parent;
        }
    }
}

impl<T> Node<T> {
    fn new() -> Node<T> {
        Node { here: SmallVec::new(), tail: SmallVec::new(), star: NONE, literals: 0 }
    }

    fn is_unused(&self) -> bool {
        self.here.is_empty() && self.tail.is_empty() && self.star == NONE && self.literals == 0
    }
}
