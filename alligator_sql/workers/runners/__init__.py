"""Where tasks run. Each runner takes claims and hands back what became of them."""
