"""The multi-view model judged as its paper judges it."""
