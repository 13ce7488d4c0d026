//! Calls of methods by their descriptors, with marks in them; what was sent, and what refusals told.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::Status;
use tonic::transport::Channel;

use super::marks::{Mark, Searcher, find_marks};
use super::messages::{Made, Marks, Text, leaf, marks_of};
use crate::access::by;
use crate::harness::{call_method, methods};

/// What a refusal may repeat of its own request: what it asked for, by its name.
const ASKED_FOR: [&str; 21] = [
    "activity_id",
    "benefit_id",
    "campaign_id",
    "category_id",
    "category_ids",
    "code",
    "complaint_id",
    "customer_id",
    "entry_id",
    "factor_id",
    "hold_id",
    "lot_id",
    "package_id",
    "purchase_activity_id",
    "referee_customer_id",
    "referrer_customer_id",
    "reward_id",
    "segment_id",
    "tier_id",
    "tier_ids",
    "value_class_ids",
];

/// A request that was carried out.
pub(super) struct Carried {
    pub method: String,
    pub message: DynamicMessage,
}

/// Whoever calls, and what they have said so far.
pub(super) struct Caller {
    channel: Channel,
    methods: BTreeMap<String, MethodDescriptor>,
    pub marks: Marks,
    pub token: String,
    pub carried: Vec<Carried>,
    /// The paths at which each request had a mark, whether it was carried out or not.
    pub marked: BTreeSet<(String, String)>,
    pub refused: usize,
}

impl Caller {
    pub(super) fn new(channel: Channel, token: String, marks: Marks) -> Self {
        let name = |method: &MethodDescriptor| format!("{}.{}", method.parent_service().name(), method.name());
        let methods = methods().into_iter().map(|method| (name(&method), method)).collect();
        Self { channel, methods, marks, token, carried: Vec::new(), marked: BTreeSet::new(), refused: 0 }
    }

    pub(super) fn methods(&self) -> Vec<String> {
        self.methods.keys().cloned().collect()
    }

    /// Has a request carried out whose empty texts are marks, as far as a caller chooses them.
    pub(super) async fn carry_out<A: Message + Default>(&mut self, method: &str, request: &impl Message) -> A {
        let mut message = self.read(method, request);
        self.marks.fill(&mut message, Text::Valid, None);
        let answer = self.send(method, &message).await.unwrap_or_else(|status| panic!("{method}: {status:?}"));
        self.carried.push(Carried { method: method.to_owned(), message });
        A::decode(&*answer).unwrap()
    }

    /// A request as its descriptor tells it.
    pub(super) fn read(&self, method: &str, request: &impl Message) -> DynamicMessage {
        DynamicMessage::decode(self.methods[method].input(), &*request.encode_to_vec()).unwrap()
    }

    /// A request full of marks.
    pub(super) fn make(&mut self, method: &str, text: Text, made: Made) -> DynamicMessage {
        let mut message = DynamicMessage::new(self.methods[method].input());
        self.marks.fill(&mut message, text, made);
        message
    }

    /// Sends a request as it is. What a refusal tells holds no mark but those that it may.
    pub(super) async fn send(&mut self, method: &str, message: &DynamicMessage) -> Result<Vec<u8>, Status> {
        let own = marks_of(message);
        self.marked.extend(own.iter().map(|(_, path)| (method.to_owned(), path.clone())));
        let request = by(&self.token, message.encode_to_vec());
        let outcome = call_method(&self.channel, &self.methods[method], request).await;
        if let Err(status) = &outcome {
            self.refused += 1;
            let told = told(status);
            let may_be_told: BTreeSet<Mark> =
                own.iter().filter(|(_, path)| ASKED_FOR.contains(&leaf(path))).map(|(mark, _)| *mark).collect();
            let beyond: Vec<_> = find_marks(&told).difference(&may_be_told).copied().collect();
            let fields: Vec<_> = own.iter().filter(|(mark, _)| beyond.contains(mark)).collect();
            assert!(beyond.is_empty(), "{method} tells {beyond:?}, {fields:?}, in {status:?}");
            // In another form there is nothing at all.
            let plain = find_marks(&told).len();
            assert!(plain > 0 || Searcher::for_marks().search(&told).is_empty(), "{method}: {status:?}");
        }
        outcome
    }
}

/// All that a refusal says: its message, its details and its headers.
pub(super) fn told(status: &Status) -> Vec<u8> {
    let headers = format!("{:?}", status.metadata());
    [status.message().as_bytes(), b" ", status.details(), b" ", headers.as_bytes()].concat()
}
