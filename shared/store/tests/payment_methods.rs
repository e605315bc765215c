//! Payment methods over an embedded DynamoDB.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

use florin_domain::{
    card::{Brand, Expiry},
    ids::MerchantId,
    payment_method::{AtGateway, CardDetails, PaymentMethod},
    time::Timestamp,
};
use florin_store::payment_methods::{Created, Kept, MethodListing, PaymentMethods};
use florin_testing::{
    build::{START, merchant},
    dynamo::Dynamo,
};

fn method(merchant_id: &MerchantId, key: &str, customer: Option<&str>, created_at: Timestamp) -> PaymentMethod {
    PaymentMethod {
        id: PaymentMethod::id_for(merchant_id, key),
        merchant_id: merchant_id.clone(),
        card: CardDetails {
            brand: Brand::Visa,
            last4: "4242".to_owned(),
            expiry: Expiry { year: 2030, month: 12 },
            holder_name: "Ada Obi".to_owned(),
            fingerprint: Some(format!("print-{}", &key[..1])),
        },
        customer: customer.map(str::to_owned),
        metadata: [("order".to_owned(), key.to_owned())].into(),
        created_at,
        at_gateway: AtGateway { token: format!("pm_{key}"), customer: format!("cus_{key}") },
    }
}

async fn start() -> (Dynamo, PaymentMethods, MerchantId) {
    let dynamo = Dynamo::start().await;
    let methods = PaymentMethods::new(dynamo.client.clone(), "merchants");
    (dynamo, methods, merchant("shop").id)
}

#[tokio::test]
async fn a_payment_method_is_made_once_in_one_call() {
    let (dynamo, methods, shop) = start().await;
    let first = method(&shop, "a", Some("c1"), START);
    dynamo.meter.reset();
    assert_eq!(methods.create(&first).await.unwrap(), Created::Done(first.clone()));
    let counts = dynamo.meter.counts();
    assert_eq!(counts.calls.into_iter().collect::<Vec<_>>(), [("PutItem".to_owned(), 1)]);
    assert!(counts.write_units["merchants"] <= 3.0, "the item and two indexes: {:?}", counts.write_units);
    assert_eq!(methods.create(&first).await.unwrap(), Created::Done(first.clone()), "our own first try");
    let other = method(&shop, "a", None, START.plus_ms(1));
    assert_eq!(methods.create(&other).await.unwrap(), Created::Lost(Kept::Live(first.clone())));
    assert_eq!(methods.get(&shop, &first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(methods.get(&merchant("other").id, &first.id).await.unwrap(), None);
    let bare = PaymentMethod { metadata: [].into(), ..method(&shop, "b", None, START) };
    let bare = PaymentMethod { card: CardDetails { fingerprint: None, ..bare.card.clone() }, ..bare };
    methods.create(&bare).await.unwrap();
    assert_eq!(methods.get(&shop, &bare.id).await.unwrap(), Some(bare));
}

#[tokio::test]
async fn what_is_deleted_leaves_no_trace_of_a_person_and_does_not_come_back() {
    let (dynamo, methods, shop) = start().await;
    let kept = method(&shop, "a", Some("cust-7"), START);
    methods.create(&kept).await.unwrap();
    let names = Some(kept.at_gateway.clone());
    let delete = || methods.delete(&shop, &kept.id, START.plus_ms(5));
    for _ in 0..2 {
        assert_eq!(delete().await.unwrap(), Some(Kept::Deleted(names.clone())), "until the gateway was told");
        assert_eq!(methods.get(&shop, &kept.id).await.unwrap(), None);
    }
    for _ in 0..2 {
        methods.forgotten(&shop, &kept.id).await.unwrap();
        assert_eq!(delete().await.unwrap(), Some(Kept::Deleted(None)));
    }
    assert_eq!(methods.create(&kept).await.unwrap(), Created::Lost(Kept::Deleted(None)));
    assert_eq!(methods.list(&shop, &listing(10)).await.unwrap().items, []);
    assert_eq!(methods.list(&shop, &MethodListing::of_customer("cust-7", 100)).await.unwrap().items, []);
    let items = dynamo.client.scan().table_name("merchants").send().await.unwrap();
    let stored = format!("{:?}", items.items());
    for trace in ["Ada", "4242", "cust-7", "print-a", "pm_a", "cus_a", "12/30", "order"] {
        assert!(!stored.contains(trace), "{trace}: {stored}");
    }
    // Nothing is made by deleting, and what lives is not robbed of its names.
    let absent = method(&shop, "b", None, START);
    assert_eq!(methods.delete(&shop, &absent.id, START).await.unwrap(), None);
    methods.create(&absent).await.unwrap();
    methods.forgotten(&shop, &absent.id).await.unwrap();
    assert_eq!(methods.get(&shop, &absent.id).await.unwrap(), Some(absent));
}

fn listing(limit: usize) -> MethodListing {
    MethodListing { limit, ..MethodListing::default() }
}

async fn all(methods: &PaymentMethods, shop: &MerchantId, listing: MethodListing) -> Vec<PaymentMethod> {
    let (mut found, mut listing) = (Vec::new(), listing);
    for _ in 0..20 {
        let page = methods.list(shop, &listing).await.unwrap();
        assert!(page.items.len() <= listing.limit);
        found.extend(page.items);
        let Some(next) = page.next else { return found };
        listing.after = Some(next);
    }
    panic!("the list does not end");
}

#[tokio::test]
async fn lists_are_newest_first_and_one_call_a_page() {
    let (dynamo, methods, shop) = start().await;
    let mut expected = Vec::new();
    for n in 0..7_i64 {
        let customer = (n % 3 == 0).then_some("c1");
        let key = format!("{}{n}", if n % 2 == 0 { "a" } else { "b" });
        let made = method(&shop, &key, customer, START.plus_ms(n));
        methods.create(&made).await.unwrap();
        expected.insert(0, made);
    }
    let stranger = method(&merchant("other").id, "a", Some("c1"), START);
    methods.create(&stranger).await.unwrap();

    for limit in [1, 3, 7, 100] {
        assert_eq!(all(&methods, &shop, listing(limit)).await, expected);
    }
    let of = |wanted: &dyn Fn(&PaymentMethod) -> bool| -> Vec<PaymentMethod> {
        expected.iter().filter(|method| wanted(method)).cloned().collect()
    };
    let c1 = of(&|method| method.customer.is_some());
    assert_eq!(c1.len(), 3);
    let customer = Some("c1".to_owned());
    assert_eq!(all(&methods, &shop, MethodListing { customer: customer.clone(), ..listing(2) }).await, c1);
    assert_eq!(methods.list(&shop, &MethodListing::of_customer("c1", 100)).await.unwrap().items, c1);
    assert_eq!(methods.list(&shop, &MethodListing::of_customer("c2", 100)).await.unwrap().items, []);
    let fingerprint = Some("print-b".to_owned());
    let printed = of(&|method| method.card.fingerprint == fingerprint);
    assert_eq!(all(&methods, &shop, MethodListing { fingerprint: fingerprint.clone(), ..listing(2) }).await, printed);
    let both = of(&|method| method.customer.is_some() && method.card.fingerprint == fingerprint);
    assert_eq!(all(&methods, &shop, MethodListing { customer, fingerprint, ..listing(1) }).await, both);

    dynamo.meter.reset();
    let page = methods.list(&shop, &listing(7)).await.unwrap();
    assert_eq!((page.items.len(), page.next), (7, None), "the last page says that it is the last");
    assert_eq!(dynamo.meter.counts().calls.into_iter().collect::<Vec<_>>(), [("Query".to_owned(), 1)]);
}
