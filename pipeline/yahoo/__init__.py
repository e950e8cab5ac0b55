"""The site's JSON endpoints by yfinance: one session, one throttle, one company's figures."""
