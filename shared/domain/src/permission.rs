//! Who may do what: the table of permissions, by role and by API key. Every route of the API names one of them, and a
//! test walks every route with every role.

use serde::{Deserialize, Serialize};

/// What a user of a merchant may do with all that is the merchant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything. A merchant always has one.
    Owner,
    /// Everything, except that it makes no owners and unmakes none.
    Admin,
    /// What it takes to build and to run an integration.
    Developer,
    /// Looks at things.
    Viewer,
}

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Developer, Self::Viewer];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Its row of the table.
    pub fn permissions(self) -> Permissions {
        let may = |permission: &Permission| permission.row().1.contains(&self);
        Permission::ALL.into_iter().filter(may).collect()
    }
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident $scope:literal [$($role:ident)*] $keys:literal;)*) => {
        /// Something that may be done. The variants are in the order of the table in the documentation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $($(#[$doc])* $name,)*
        }

        impl Permission {
            /// Every permission.
            pub const ALL: [Self; [$($scope),*].len()] = [$(Self::$name),*];

            /// The scope's name, the roles that have it, and whether an API key may have it.
            fn row(self) -> (&'static str, &'static [Role], bool) {
                match self {
                    $(Self::$name => ($scope, &[$(Role::$role),*], $keys),)*
                }
            }
        }
    };
}

permissions! {
    // name              scope                   roles                            API keys
    /// Reads payments with their timelines, and refunds.
    PaymentsRead        "payments:read"         [Owner Admin Developer Viewer]   true;
    /// Makes payments, cancels, holds and resumes them.
    PaymentsWrite       "payments:write"        [Owner Admin Developer]          true;
    /// Gives money back.
    RefundsWrite        "refunds:write"         [Owner Admin]                    true;
    /// Reads payment methods.
    PaymentMethodsRead  "payment_methods:read"  [Owner Admin Developer Viewer]   true;
    /// Makes and deletes payment methods.
    PaymentMethodsWrite "payment_methods:write" [Owner Admin Developer]          true;
    /// Reads counts and sums.
    AnalyticsRead       "analytics:read"        [Owner Admin Developer Viewer]   true;
    /// Exports and erases what is known of a customer.
    CustomersManage     "customers:manage"      [Owner Admin]                    true;
    /// Reads the merchant's profile.
    MerchantRead        "merchant:read"         [Owner Admin Developer Viewer]   true;
    /// Changes the merchant's profile.
    MerchantWrite       "merchant:write"        [Owner Admin]                    false;
    /// Lists API keys, of which nobody can read the secret.
    KeysRead            "keys:read"             [Owner Admin Developer]          false;
    /// Makes and revokes API keys.
    KeysWrite           "keys:write"            [Owner Admin Developer]          false;
    /// Lists users.
    UsersRead           "users:read"            [Owner Admin]                    false;
    /// Invites, changes and removes users.
    UsersWrite          "users:write"           [Owner Admin]                    false;
    /// Reads the audit log.
    AuditRead           "audit:read"            [Owner Admin]                    false;
}

impl Permission {
    /// As scopes of keys and tokens name it.
    pub fn scope(self) -> &'static str {
        self.row().0
    }

    /// The permission that a scope names.
    pub fn parse(scope: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.scope() == scope)
    }

    /// Whether an API key may have it. What makes keys and users is for people.
    pub fn is_for_keys(self) -> bool {
        self.row().2
    }

    fn bit(self) -> u32 {
        Self::ALL.iter().position(|permission| *permission == self).map_or(0, |place| 1 << place)
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u32);

impl Permissions {
    /// All that an API key may have: what a key has for which no scopes were named.
    pub fn of_keys() -> Self {
        Permission::ALL.into_iter().filter(|permission| permission.is_for_keys()).collect()
    }

    /// Whether this is among them.
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Those of both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether none is missing from `other`.
    pub fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One after the other, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }

    /// The scopes' names, with spaces between them, as OAuth 2.0 writes them (RFC 6749, section 3.3).
    pub fn to_scopes(self) -> String {
        self.iter().map(Permission::scope).collect::<Vec<_>>().join(" ")
    }

    /// Reads what `to_scopes` wrote, and any other list of scopes. None if one of them is unknown.
    pub fn from_scopes(text: &str) -> Option<Self> {
        text.split(' ').filter(|scope| !scope.is_empty()).map(Permission::parse).collect()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_may_do_what_the_one_below_it_may() {
        let [owner, admin, developer, viewer] = Role::ALL.map(Role::permissions);
        assert!(viewer.is_subset_of(developer) && admin.is_subset_of(owner));
        assert_eq!(Permission::ALL.into_iter().collect::<Permissions>(), owner);
        // Developers make keys; what keys may do that developers may not, such as refunds, needs somebody else.
        assert!(developer.is_subset_of(admin));
        assert!(!developer.contains(Permission::RefundsWrite));
        assert!(viewer.iter().all(|permission| permission.scope().ends_with(":read")));
    }

    #[test]
    fn keys_make_no_keys_and_no_users() {
        for permission in [Permission::KeysWrite, Permission::UsersWrite, Permission::MerchantWrite] {
            assert!(!Permissions::of_keys().contains(permission));
        }
    }

    #[test]
    fn scopes_read_back() {
        for role in Role::ALL {
            let permissions = role.permissions();
            assert_eq!(Permissions::from_scopes(&permissions.to_scopes()), Some(permissions));
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Permissions::from_scopes(""), Some(Permissions::default()));
        assert_eq!(Permissions::from_scopes("payments:read payments:fly"), None);
    }
}
