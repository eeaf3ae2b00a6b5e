"""What all tests share. Fixtures that only some need are in the conftest of their directory."""

pytest_plugins = ["pytester", "tests.required_servers", "tests.brokers", "tests.mesh", "tests.leaks"]
