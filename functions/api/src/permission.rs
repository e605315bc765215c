//! What a handler needs its caller to be allowed: the type of its argument says so, and without it the handler is not
//! reached.

use std::{marker::PhantomData, ops::Deref, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use florin_domain::permission::Permission;

use crate::{Api, auth::Caller, context::Slot, problem::Problem};

/// A permission as a type.
pub(crate) trait Needed: Send + Sync {
    /// Which one.
    const PERMISSION: Permission;
}

macro_rules! needed {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("See [`Permission::", stringify!($name), "`].")]
            pub(crate) struct $name;

            impl Needed for $name {
                const PERMISSION: Permission = Permission::$name;
            }
        )*
    };
}

needed!(
    PaymentsRead PaymentsWrite RefundsWrite PaymentMethodsRead PaymentMethodsWrite AnalyticsRead MerchantRead
    MerchantWrite KeysRead KeysWrite UsersRead UsersWrite AuditRead
    CustomersManage
);

/// The caller, who may do this.
pub(crate) struct May<P>(pub(crate) Caller, PhantomData<P>);

impl<P> Deref for May<P> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<P: Needed> FromRequestParts<Arc<Api>> for May<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let slot = parts.extensions.get::<Arc<Slot>>().map(AsRef::as_ref);
        if let Some(slot) = slot {
            slot.acts(caller.actor.id());
        }
        api.dependencies.limiter.admit(caller.actor.id(), slot, api.dependencies.clock.now()).await?;
        if caller.permissions.contains(P::PERMISSION) {
            Ok(Self(caller, PhantomData))
        } else {
            Err(Problem::Forbidden(P::PERMISSION))
        }
    }
}
