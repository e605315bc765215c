//! What this host reads and checks, and what changes nothing on this machine: rights, alarms, log groups.

use super::{Builder, Type};
use crate::template::{Result, document::Resource, value::Fields};

/// Properties of a type: those that must be there, and those that may.
struct Known {
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const NOTHING: Known = Known { required: &[], optional: &[] };

const ROLE: Known = Known {
    required: &["AssumeRolePolicyDocument"],
    optional: &[
        "Description",
        "ManagedPolicyArns",
        "MaxSessionDuration",
        "Path",
        "PermissionsBoundary",
        "Policies",
        "RoleName",
        "Tags",
    ],
};

const POLICY: Known = Known { required: &["PolicyDocument", "PolicyName"], optional: &["Groups", "Roles", "Users"] };

const LOG_GROUP: Known = Known {
    required: &[],
    optional: &[
        "DataProtectionPolicy",
        "DeletionProtectionEnabled",
        "FieldIndexPolicies",
        "KmsKeyId",
        "LogGroupClass",
        "LogGroupName",
        "ResourcePolicyDocument",
        "RetentionInDays",
        "Tags",
    ],
};

const METRIC_FILTER: Known = Known {
    required: &["FilterPattern", "LogGroupName", "MetricTransformations"],
    optional: &["ApplyOnTransformedLogs", "EmitSystemFieldDimensions", "FieldSelectionCriteria", "FilterName"],
};

const ALARM: Known = Known {
    required: &["ComparisonOperator", "EvaluationPeriods"],
    optional: &[
        "ActionsEnabled",
        "AlarmActions",
        "AlarmDescription",
        "AlarmName",
        "DatapointsToAlarm",
        "Dimensions",
        "EvaluateLowSampleCountPercentile",
        "ExtendedStatistic",
        "InsufficientDataActions",
        "MetricName",
        "Metrics",
        "Namespace",
        "OKActions",
        "Period",
        "Statistic",
        "Tags",
        "Threshold",
        "ThresholdMetricId",
        "TreatMissingData",
        "Unit",
    ],
};

const DASHBOARD: Known = Known { required: &["DashboardBody"], optional: &["DashboardName"] };
const QUEUE_POLICY: Known = Known { required: &["PolicyDocument", "Queues"], optional: &[] };
const TOPIC_POLICY: Known = Known { required: &["PolicyDocument", "Topics"], optional: &[] };

const PERMISSION: Known = Known {
    required: &["Action", "FunctionName", "Principal"],
    optional: &[
        "EventSourceToken",
        "FunctionUrlAuthType",
        "InvokedViaFunctionUrl",
        "PrincipalOrgID",
        "SourceAccount",
        "SourceArn",
    ],
};

impl Builder<'_, '_> {
    pub(super) fn inert(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        let known = match resource.kind {
            Type::Role => ROLE,
            Type::Policy => POLICY,
            Type::LogGroup => LOG_GROUP,
            Type::MetricFilter => METRIC_FILTER,
            Type::Alarm => ALARM,
            Type::Dashboard => DASHBOARD,
            Type::QueuePolicy => QUEUE_POLICY,
            Type::TopicPolicy => TOPIC_POLICY,
            Type::Permission => PERMISSION,
            _ => NOTHING,
        };
        // A role that SAM makes has no text of its own.
        if resource.owner.is_none() {
            for name in known.required {
                fields.required(name)?;
            }
        }
        fields.without_effect(known.optional);
        self.stack.without_effect.push((resource.id.clone(), resource.kind.name().to_owned()));
        Ok(())
    }
}
