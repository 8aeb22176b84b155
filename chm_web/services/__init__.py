"""The domain operations, one module a noun. A public function is one transaction."""
