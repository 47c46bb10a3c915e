# In a file of its own: Packer before 1.7 has the plugin built in, and doesn't know this block.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.2.8"
    }
  }
}
