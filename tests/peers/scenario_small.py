"""SSM, the price list and S3, and how each service says that calls come too fast."""

import json

from cloud import Cloud
from ledger import Ledger, Service

IMAGES = "/aws/service/ecs/optimized-ami"
IMAGE = f"{IMAGES}/amazon-linux-2023/recommended/image_id"


def run(cloud: Cloud, ledger: Ledger) -> None:
    parameters(Service(cloud, "ssm", ledger))
    prices(Service(cloud, "pricing", ledger))
    objects(Service(cloud, "s3", ledger))
    throttling(cloud, ledger)


def parameters(ssm: Service) -> None:
    one = ssm.call("GetParameter", Name=IMAGE)["Parameter"]
    ssm.check("GetParameter", one["Value"].startswith("ami-"), f"{one}")
    several = ssm.call("GetParameters", Names=[IMAGE, "/x"])
    ssm.check("GetParameters", several["InvalidParameters"] == ["/x"], f"{several}")
    ssm.pages("GetParametersByPath", 2, Path=IMAGES, Recursive=True)
    ssm.refused("GetParameter", "ParameterNotFound", Name="/x")
    ssm.refused("GetParameters", "ValidationException", Names=[f"/{number}" for number in range(11)])
    ssm.refused("GetParametersByPath", "ValidationException", Path="x")
    ssm.refused("GetParametersByPath", "InvalidNextToken", Path="/x", NextToken="foreign")


def prices(pricing: Service) -> None:
    def products(**fields: str) -> dict:
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]
        return {"ServiceCode": "AmazonEC2", "Filters": filters}

    wanted = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
    found = pricing.call("GetProducts", **products(instanceType="c5.large", regionCode="us-east-1", **wanted))["PriceList"]
    pricing.check("GetProducts", len(found) == 1, f"{len(found)} products for one type: {found}")
    [term] = json.loads(found[0])["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    pricing.check("GetProducts", float(dimension["pricePerUnit"]["USD"]) == 0.085, f"{dimension}")
    pricing.pages("GetProducts", 2, **products(instanceType="c5.large"))
    pricing.refused("GetProducts", "InvalidParameterException", ServiceCode="AmazonEC3")
    pricing.refused("GetProducts", "InvalidNextTokenException", ServiceCode="AmazonEC2", NextToken="foreign")


def objects(s3: Service) -> None:
    where = {"Bucket": "artifacts", "Key": "v1/agent x+y"}
    s3.call("PutObject", Body=b"\x7fELF" * 1000, ContentType="application/octet-stream", **where)
    s3.wait("object_exists", **where)
    s3.wait("object_not_exists", Bucket="artifacts", Key="other")
    got = s3.call("GetObject", **where)
    s3.check("GetObject", got["Body"].read() == b"\x7fELF" * 1000, "other bytes than were put")
    s3.check("GetObject", got["ContentType"] == "application/octet-stream", f"{got['ContentType']}")
    part = s3.call("GetObject", Range="bytes=2-5", **where)
    bytes_of_part, range_of_part = part["Body"].read(), part.get("ContentRange")
    s3.check("GetObject", bytes_of_part == b"LF\x7fE", f"a range gives {len(bytes_of_part)} bytes")
    s3.check("GetObject", range_of_part == "bytes 2-5/4000", f"a range gives {range_of_part}")
    head = s3.call("HeadObject", **where)
    s3.check("HeadObject", head["ContentLength"] == 4000, f"{head['ContentLength']} bytes")
    s3.refused("GetObject", "InvalidRange", Range="bytes=4000-", **where)
    s3.refused("GetObject", "NoSuchKey", Bucket="artifacts", Key="other")
    s3.refused("GetObject", "NoSuchBucket", Bucket="nowhere", Key="other")
    # An answer to HEAD has no body, so botocore has nothing but the status.
    s3.refused("HeadObject", "404", Bucket="artifacts", Key="other")


def throttling(cloud: Cloud, ledger: Ledger) -> None:
    """botocore has to take each service's own way of saying it for a reason to try again."""
    for service, operation, code, parameters in [
        ("batch", "DescribeJobQueues", "TooManyRequestsException", {}),
        ("ec2", "DescribeVpcs", "RequestLimitExceeded", {}),
        ("ecs", "ListClusters", "ThrottlingException", {}),
        ("iam", "GetRole", "Throttling", {"RoleName": "ecsInstanceRole"}),
        ("s3", "GetObject", "SlowDown", {"Bucket": "artifacts", "Key": "v1/agent x+y"}),
        ("scheduler", "ListSchedules", "ThrottlingException", {}),
        ("ssm", "GetParameter", "ThrottlingException", {"Name": IMAGE}),
        ("sts", "GetCallerIdentity", "Throttling", {}),
    ]:
        cloud.control("POST", "faults", {"service": service, "count": 2, "effect": "throttle"})
        Service(cloud, service, ledger).refused(operation, code, **parameters)
        patient = Service(cloud, service, ledger, retries={"total_max_attempts": 2, "mode": "standard"})
        retries = patient.call(operation, **parameters)["ResponseMetadata"]["RetryAttempts"]
        patient.check(operation, retries == 1, f"a throttled call was tried again {retries} times")
