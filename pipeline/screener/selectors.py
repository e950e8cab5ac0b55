"""CSS selectors by element, the best known first; `::text=` asks for an element whose text starts so.

Classes such as `yf-5ogvqh` change within weeks and are never used. The menus of the filters are found by what they are
(pipeline/screener/page.js, `menuControl`): their remove button, Apply and a column's header carry the same tracking word.
"""

from __future__ import annotations

#: The most rows that a page shows.
ROWS_PER_PAGE = 100

SELECTORS: dict[str, tuple[str, ...]] = {
    "consent_page": ("#consent-page", ".consent-form", ".consent-overlay"),
    "consent_reject": ("button[name=reject]", ".reject-all", "input[name=reject][type=submit]"),
    "table": (
        '[data-testid="screener-table"]',
        "div.screener-table",
        "main table",
        "table:has(a[href*='/quote/'])",
        "[role=table]:has(a[href*='/quote/'])",
        "[role=grid]:has(a[href*='/quote/'])",
    ),
    "row": ('tr[data-testid="data-table-v2-row"]', "tbody tr", "tr:has(td)", "[role=row]:has(a[href*='/quote/'])"),
    "symbol": ('[data-testid-cell="ticker"] span.symbol', '[data-testid="table-cell-ticker"] .symbol', ".symbol"),
    "ticker_link": ('a[data-testid="table-cell-ticker"]', 'a[href*="/quote/"]'),
    "name": ('[data-testid-cell="companyshortname.raw"] div[title]', '[data-testid-cell="companyshortname.raw"]'),
    "busy": ('[aria-busy="true"]', '[class*="skeleton"]', '[class*="spinner"]', '[class*="loading"]'),
    "total": ("div.paginationContainer div.total", '[class*="pagination"] .total', '[class*="pagination"]', '[class*="total"]'),
    "next_page": (
        'button[data-testid="next-page-button"]',
        'button[aria-label="Goto next page"]',
        'button[aria-label*="next" i]',
        'button[data-ylk*="slk:next"]',
    ),
    "page_size_button": ("div.select-dropdown button", 'button[aria-label*="Rows per page"]'),
    "page_size_option": (f'div[role=option][data-value="{ROWS_PER_PAGE}"]', f"[role=option]::text={ROWS_PER_PAGE}"),
    "symbol_header": ('[data-testid-header="ticker"] button', "th button::text=Symbol", "th a::text=Symbol", "th::text=Symbol"),
    "region_chip": ('[data-testid="active-filter-region"]',),
    "region_option": ("div.options label[title] input", 'input[data-testid^="filter-option-"]', "label[title] input[type=checkbox]"),
    "market_cap_chip": ('[data-testid="active-filter-intradaymarketcap"]',),
    "custom_band": ("input#custom", 'label[title="Custom"] input', "label::text=Custom"),
    "between_button": ('button[data-ylk*="slk:Between"]', "button::text=Between"),
    "band_input": (
        'input[placeholder*="e.g. 10M"]',
        'input[placeholder*="10M"]',
        'input[inputmode="decimal"], input[inputmode="numeric"], input[type="number"]',
        'input[aria-label*="min" i], input[aria-label*="max" i], input[placeholder^="min" i], input[placeholder^="max" i]',
        'input[name*="min" i]:not([type=hidden]), input[name*="max" i]:not([type=hidden])',
    ),
    "add_filters_button": ('[data-testid="add-filters-button"]', "button::text=Add filter"),
    "market_data_category": ('[data-testid="filter-category-market_data"]',),
    "region_metric": ('[data-testid="filter-metric-region"]',),
    "market_cap_metric": ('[data-testid="filter-metric-intradaymarketcap"]', '[data-testid^="filter-metric-"]::text=Market Cap'),
    "apply_button": (
        'button[aria-label="Apply"]',
        '[data-testid="filter-apply"]',
        "button::text=Apply",
        "form:has(select) button, form:has(select) [type=submit]",
    ),
    "dialog": (
        'div.dialog-container.menu-surface-dialog[aria-hidden="false"]',
        "dialog[open]",
        '[role=dialog]:not([aria-hidden="true"])',
        '[role=alertdialog]:not([aria-hidden="true"])',
        '[aria-modal="true"]',
    ),
}
