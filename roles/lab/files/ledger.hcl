# The application reads its own secrets, and nothing else.
path "secret/data/ledger/*" {
  capabilities = ["read"]
}
