# What the readiness checks look at. Nothing here can change anything.
path "secret/data/ledger/*" {
  capabilities = ["read"]
}

path "secret/metadata/ledger/*" {
  capabilities = ["read", "list"]
}

path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read"]
}

# The list of audit devices is a protected path: reading it needs sudo as well.
path "sys/audit" {
  capabilities = ["read", "sudo"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/*" {
  capabilities = ["read"]
}

path "sys/storage/raft/configuration" {
  capabilities = ["read"]
}
