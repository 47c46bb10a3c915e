//! Which service a request is for, and what that service gets to work on.

use super::{Cloud, faults};
use crate::hosts::imds;
use crate::protocol::{Context, Handled, Request, wire};
use crate::services::{batch, ec2, ecs, iam, logs, pricing, s3, scheduler, ssm, sts};

impl Cloud {
    /// Gives the request to its service.
    pub(super) fn dispatch(
        &mut self,
        service: &str,
        operation: &str,
        context: &Context,
        request: &Request,
    ) -> Handled {
        if let Some(refusal) = &context.refusal {
            return faults::failed(service, operation, context, request, refusal);
        }
        match service {
            "ec2" => ec2::handle(&mut self.ec2(), context, request),
            "iam" => iam::handle(&mut self.iam(), context, request),
            "sts" => sts::handle(&self.options, &self.ec2, context, request),
            "logs" => logs::handle(&self.logs, context, request),
            "ssm" => ssm::handle(&self.ssm, &self.options, context, request),
            "pricing" => pricing::handle(&self.options, context, request),
            "ecs" => ecs::handle(&mut self.ecs(), context, request),
            "batch" => batch::handle(&mut self.batch(), context, request),
            "scheduler" => scheduler::handle(&mut self.scheduler(), context, request),
            _ => s3::handle(&mut self.s3, context, request),
        }
    }

    fn iam(&mut self) -> iam::Service<'_> {
        iam::Service { options: &self.options, ids: &mut self.ids, state: &mut self.iam }
    }

    pub(crate) fn ec2(&mut self) -> ec2::Service<'_> {
        ec2::Service {
            options: &mut self.options,
            ids: &mut self.ids,
            journal: &mut self.journal,
            iam: &self.iam,
            state: &mut self.ec2,
        }
    }

    pub(crate) fn ecs(&mut self) -> ecs::Service<'_> {
        ecs::Service {
            options: &self.options,
            ids: &mut self.ids,
            journal: &mut self.journal,
            state: &mut self.ecs,
        }
    }

    pub(super) fn batch(&mut self) -> batch::Service<'_> {
        batch::Service {
            options: &self.options,
            ids: &mut self.ids,
            journal: &mut self.journal,
            iam: &self.iam,
            ecs: &mut self.ecs,
            logs: &mut self.logs,
            state: &mut self.batch,
        }
    }

    pub(super) fn scheduler(&mut self) -> scheduler::Service<'_> {
        scheduler::Service {
            options: &self.options,
            journal: &mut self.journal,
            iam: &self.iam,
            ec2: &self.ec2,
            state: &mut self.scheduler,
        }
    }

    pub(super) fn imds(&mut self) -> imds::Service<'_> {
        imds::Service {
            options: &self.options,
            ids: &mut self.ids,
            ec2: &self.ec2,
            state: &mut self.imds,
        }
    }
}

/// The operation a request asks for, told before its service has parsed it: from the target header,
/// the path or the form. S3 gives the method, such as `GET`.
pub(super) fn operation(request: &Request) -> String {
    if let Some(target) = wire::json::target(request) {
        return target.to_owned();
    }
    match request.service() {
        "batch" => batch::operation(request),
        "scheduler" => scheduler::operation(request).to_owned(),
        "ec2" | "iam" | "sts" => form_urlencoded::parse(&request.body)
            .find(|(key, _)| key == "Action")
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default(),
        _ => request.method.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_is_told_from_target_path_or_form() {
        let signed = |service: &str| {
            let scope = format!(
                "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, x"
            );
            ("authorization".to_owned(), scope)
        };
        let target = ("x-amz-target".to_owned(), "AmazonSSM.GetParameter".to_owned());
        let ssm = Request { headers: vec![signed("ssm"), target], ..Request::default() };
        assert_eq!(operation(&ssm), "GetParameter");
        let batch = Request {
            path: "/v1/submitjob".into(),
            headers: vec![signed("batch")],
            ..Request::default()
        };
        assert_eq!(operation(&batch), "SubmitJob");
        let body = b"Version=2016-11-15&Action=RunInstances".to_vec();
        let ec2 = Request { headers: vec![signed("ec2")], body, ..Request::default() };
        assert_eq!(operation(&ec2), "RunInstances");
    }
}
