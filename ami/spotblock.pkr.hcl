# An ECS image that carries spotblock-agent.
#
#   packer init .          (Packer 1.7 or newer; the plugin's source is in plugins.pkr.hcl)
#   packer build -var package=../target/dist/spotblock-agent-0.1.0-1.x86_64.rpm -var subnet_id=subnet-... .
#
# The instance that builds needs no right of its own: it fetches nothing of ours, the package is sent to it over SSH.

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "package" {
  type        = string
  description = "The .rpm that `make dist` made, for the image's architecture."
}

variable "source_image" {
  type        = string
  default     = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
  description = "SSM parameter with the id of the image to build on. With GPUs: /aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id; for Graviton: .../amazon-linux-2023/arm64/recommended/image_id."
}

variable "instance_type" {
  type        = string
  default     = "t3.small"
  description = "What builds: of the image's architecture; for the GPU image, one that can boot it (it needs no GPU), with room for its 30 GiB."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Left out, the default VPC's."
}

variable "encrypt" {
  type        = bool
  default     = false
  description = "Encrypt the image's snapshot."
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "With encrypt: the key, where it isn't the account's own for EBS. The key of an image that is shared has to be shared too."
}

variable "name" {
  type    = string
  default = "spotblock-ecs"
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "For the image and its snapshot."
}

locals {
  built = formatdate("YYYYMMDD-hhmm", timestamp())
  tags = merge({
    Name                = "${var.name}-${local.built}"
    "spotblock:package" = basename(var.package)
    "spotblock:source"  = "{{ .SourceAMI }}"
  }, var.tags)
}

# newer than 1.6: begin
# By name through SSM: the image's id changes every few weeks. Who builds needs ssm:GetParameter.
data "amazon-parameterstore" "image" {
  name   = var.source_image
  region = var.region
}
# newer than 1.6: end

source "amazon-ebs" "ecs" {
  region        = var.region
  instance_type = var.instance_type
  subnet_id     = var.subnet_id

  source_ami = data.amazon-parameterstore.image.value

  ami_name              = "${var.name}-${local.built}"
  ami_description       = "ECS-optimised image with ${basename(var.package)}"
  encrypt_boot          = var.encrypt
  kms_key_id            = var.kms_key_id
  tags                  = local.tags
  snapshot_tags         = local.tags
  run_tags              = { Name = "packer ${var.name}" }
  run_volume_tags       = { Name = "packer ${var.name}" }
  ena_support           = true
  shutdown_behavior     = "terminate"
  force_delete_snapshot = false

  # newer than 1.6: begin
  # IMDSv2 alone: while it builds, and by default on whatever is launched from the image.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
  # newer than 1.6: end

  ssh_username              = "ec2-user"
  ssh_clear_authorized_keys = true
}

build {
  sources = ["source.amazon-ebs.ecs"]

  provisioner "file" {
    sources     = [var.package, "${path.root}/bake.sh", "${path.root}/check.sh"]
    destination = "/tmp/"
  }

  provisioner "shell" {
    inline = [
      "cloud-init status --wait",
      "sudo sh /tmp/bake.sh /tmp/${basename(var.package)}",
      "rm /tmp/bake.sh /tmp/${basename(var.package)}",
      "sudo sh /tmp/check.sh",
      "sudo rm /tmp/check.sh",
    ]
  }
}
